# certificate KEY CERTIFICATE makes a key that only its owner may read and a certificate for 127.0.0.1 and localhost that it
# has signed itself: clients trust the file as it is. Both are worth nothing elsewhere.
certificate() {
  (
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
      -addext "subjectAltName=IP:127.0.0.1,DNS:localhost" -keyout "$1" -out "$2"
  )
  chmod 644 "$2"
}

# password prints one for a server of one run.
password() {
  head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n'
}
