package agent

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"syscall"
)

// certificate shakes hands over a connection and says who the server claims to be. Nothing else is sent: neither a
// certificate of ours nor a token, and no request.
//
// A server that does not speak TLS is an answer, too: it has no certificate.
func certificate(base Result, conn net.Conn, probe Probe) Result {
	// The handshake accepts any certificate, since one that cannot be trusted has to be named. It is verified below.
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := secure.Handshake(); err != nil {
		var errno syscall.Errno
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &errno) {
			return base.with(failure(err))
		}
		base.Detail = err.Error()
		return base
	}
	shown := secure.ConnectionState().PeerCertificates
	leaf := shown[0]
	sum := sha256.Sum256(leaf.Raw)
	base.Certificate, base.Subject, base.Issuer = hex.EncodeToString(sum[:]), leaf.Subject.String(), leaf.Issuer.String()
	if probe.CA != "" {
		err := verify(shown, probe)
		trusted := err == nil
		base.Trusted = &trusted
		if err != nil {
			base.Detail = err.Error()
		}
	}
	return base
}

// verify holds a chain against the plan's authorities, as a client of the API server does.
func verify(shown []*x509.Certificate, probe Probe) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(probe.CA)) {
		return errors.New("the plan has no certificate of an authority")
	}
	for _, one := range shown[1:] {
		between.AddCert(one)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: probe.ServerName})
	return err
}
