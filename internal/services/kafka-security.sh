# The secured listeners of the broker that kafka.sh starts, for tests of authentication, encryption and ACLs. Everything
# is made anew for each run and is worth nothing elsewhere.
#
# secure DIR PORT PORT PORT PORT PORT writes DIR/secured.properties, and the folder DIR/security for tests to read:
#
#   ca.pem                   the authority that has signed the certificates
#   client.pem, client.key   a client's, of the principal User:CN=weaver-client
#   users                    a user of SASL PLAIN a line, with its password behind a space
#   plaintext                address: neither
#   sasl_plaintext           address: SASL
#   sasl_expiring            address: SASL, and the broker ends sessions that are 2 s old (KIP-368)
#   ssl, mtls                address: TLS; mtls wants a certificate of the client
#   sasl_ssl                 address: SASL over TLS
#
# SASL is PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512, whose users tests make themselves (AlterUserScramCredentials), and
# OAUTHBEARER with unsecured tokens (RFC 7515, appendix A.5), whose sub is the user. Who isn't authenticated is a super
# user; to the others all is allowed that no ACL speaks of.
secure() {
  local dir="$1" name listener mechanism user password
  shift
  mkdir "$dir/security"
  (
    cd "$dir/security"
    key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
    openssl req -x509 "${key[@]}" -days 2 -subj /CN=weaver-test-ca -keyout ../ca.key -out ca.pem
    for name in server client; do
      openssl req "${key[@]}" -subj "/CN=weaver-$name" -keyout "$name.key" -out "../$name.csr"
      openssl x509 -req -days 2 -in "../$name.csr" -CA ca.pem -CAkey ../ca.key -CAcreateserial -CAserial ../ca.srl \
        -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost") -out "$name.pem"
    done
    cat server.key server.pem >../server.pem
    rm server.key server.pem
    echo "weaver-user weaver-plain-password" >users
    for name in sasl_plaintext sasl_expiring ssl mtls sasl_ssl; do
      echo "127.0.0.1:$1" >"$name"
      shift
    done
  )
  {
    cat <<CONF
ssl.keystore.type=PEM
ssl.keystore.location=$dir/server.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/security/ca.pem
listener.name.mtls.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
CONF
    for listener in sasl_plaintext sasl_expiring sasl_ssl; do
      echo "listener.name.$listener.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required$(
        while read -r user password; do printf ' user_%s="%s"' "$user" "$password"; done <"$dir/security/users");"
      for mechanism in scram-sha-256 scram-sha-512; do
        echo "listener.name.$listener.$mechanism.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"
      done
      echo "listener.name.$listener.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
    done
    for mechanism in plain scram-sha-256 scram-sha-512 oauthbearer; do
      echo "listener.name.sasl_expiring.$mechanism.connections.max.reauth.ms=2000"
    done
  } >"$dir/secured.properties"
}

# secured DIR KIND prints the listeners as listeners= (KIND address) or listener.security.protocol.map= (KIND protocol)
# wants them, each with a comma in front.
secured() {
  local entry name protocol
  for entry in sasl_plaintext=SASL_PLAINTEXT sasl_expiring=SASL_PLAINTEXT ssl=SSL mtls=SSL sasl_ssl=SASL_SSL; do
    name="${entry%%=*}" protocol="${entry#*=}"
    case "$2" in
      address) printf ',%s://%s' "${name^^}" "$(cat "$1/security/$name")" ;;
      protocol) printf ',%s:%s' "${name^^}" "$protocol" ;;
    esac
  done
}
