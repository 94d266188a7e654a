package postgres

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// cut says where a proxy cuts a connection.
type cut int

const (
	never        cut = iota
	beforeCommit     // the server gets all but the COMMIT, and what comes behind it
	afterCommit      // the server has committed, and its reply is lost
)

// proxy stands between a client and a server, and cuts connections at commits.
type proxy struct {
	listener net.Listener
	server   string
	plan     func(commit int) cut // for each COMMIT that comes by, counted from 0

	wg      sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]bool
	commits int
	cuts    map[cut]int
}

// newProxy starts a proxy, and returns the URL by which the server is reached through it.
func newProxy(t testing.TB, to string, plan func(commit int) cut) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(to)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, server: u.Host, plan: plan, open: map[net.Conn]bool{}, cuts: map[cut]int{}}
	u.Host = l.Addr().String()
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for c := range p.open {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p, u.String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.open[client], p.open[server] = true, true
		p.mu.Unlock()
		c := &proxied{proxy: p, client: client, server: server}
		p.wg.Go(c.requests)
		p.wg.Go(c.replies)
	}
}

// proxied is one connection.
type proxied struct {
	*proxy
	client, server net.Conn
	mu             sync.Mutex
	swallow        bool // the reply of the COMMIT
}

func (c *proxied) close() {
	_ = c.client.Close()
	_ = c.server.Close()
	c.proxy.mu.Lock()
	delete(c.open, c.client)
	delete(c.open, c.server)
	c.proxy.mu.Unlock()
}

// requests passes on what the client says, up to where it is to be cut. A Parse message of a COMMIT begins with P, its length and an
// empty name.
func (c *proxied) requests() {
	defer c.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.client.Read(buf)
		data := buf[:n]
		if at := bytes.Index(data, []byte("\x00COMMIT\x00")); at >= 5 {
			c.proxy.mu.Lock()
			where := c.plan(c.commits)
			c.commits++
			c.cuts[where]++
			c.proxy.mu.Unlock()
			switch where {
			case beforeCommit:
				_, _ = c.server.Write(data[:at-5])
				return
			case afterCommit:
				c.mu.Lock()
				c.swallow = true
				c.mu.Unlock()
			}
		}
		if _, err := c.server.Write(data); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// replies passes on what the server says.
func (c *proxied) replies() {
	defer c.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.server.Read(buf)
		c.mu.Lock()
		swallow := c.swallow
		c.mu.Unlock()
		if swallow {
			if bytes.Contains(buf[:n], []byte("COMMIT\x00")) {
				return
			}
			n = 0
		}
		if _, err := c.client.Write(buf[:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}
