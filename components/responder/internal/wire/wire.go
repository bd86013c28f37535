// Package wire is the protocol between the agent and a responder.
//
// A request is one frame: a header, and filling up to the length that the header names. Over UDP a frame is a
// datagram; over TCP frames follow each other. The answer is one JSON object, over TCP with a newline.
//
//	 0               4       5               8              16              20
//	+---------------+-------+---------------+---------------+---------------+- - -
//	| "CNIL"        | kind  | zero          | nonce         | length or seq | filling
//	+---------------+-------+---------------+---------------+---------------+- - -
package wire

import (
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"strconv"
)

// HeaderLen is the length of a header in bytes: the smallest frame.
const HeaderLen = 20

// MaxFrame bounds what a responder reads for one request, in bytes.
const MaxFrame = 64 << 20

// Kinds of frame.
const (
	Ask   = 1 // wants an answer
	Burst = 2 // wants to be counted; Number is its place in the burst
	Sink  = 3 // an Ask over TCP whose filling is only counted: a digest of it would take longer than the network
)

const magic = "CNIL"

// Header is the start of every frame.
type Header struct {
	Kind   byte
	Nonce  [8]byte
	Number uint32 // total length of an Ask in bytes, header included; sequence number in a Burst
}

// Parse reads a header; ok is false when the bytes are not a frame of ours.
func Parse(b []byte) (h Header, ok bool) {
	if len(b) < HeaderLen || string(b[:4]) != magic {
		return Header{}, false
	}
	h.Kind = b[4]
	copy(h.Nonce[:], b[8:16])
	h.Number = binary.BigEndian.Uint32(b[16:20])
	return h, true
}

// Magic tells whether a stream that starts with these bytes carries frames.
func Magic(b []byte) bool { return len(b) >= 4 && string(b[:4]) == magic }

// Frame makes a frame of size bytes (at least HeaderLen). The filling follows from the nonce and has no short period,
// so that swapped, repeated or zeroed parts change its digest.
func Frame(h Header, size int) []byte {
	b := make([]byte, max(size, HeaderLen))
	copy(b, magic)
	b[4] = h.Kind
	copy(b[8:], h.Nonce[:])
	binary.BigEndian.PutUint32(b[16:], h.Number)
	fill(b[HeaderLen:], binary.BigEndian.Uint64(h.Nonce[:]))
	return b
}

// fill writes a xorshift64 sequence.
func fill(b []byte, seed uint64) {
	x := seed | 1
	var word [8]byte
	for len(b) > 0 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(word[:], x)
		b = b[copy(b, word[:]):]
	}
}

// BurstKey is the nonce under which the datagrams of a burst are counted.
func BurstKey(name string) [8]byte {
	h := fnv.New64a()
	h.Write([]byte(name))
	return [8]byte(h.Sum(nil))
}

// Hex is a nonce as it is written in answers and logs.
func Hex(nonce [8]byte) string { return hex.EncodeToString(nonce[:]) }

// Answer is what a responder says about one request.
type Answer struct {
	Token  string `json:"token"`            // its own name
	Proto  string `json:"proto"`            // tcp or udp
	Peer   string `json:"peer"`             // whom it saw, address and port
	Local  string `json:"local"`            // at which address it was reached
	TTL    *int   `json:"ttl"`              // of the datagram, or of the SYN
	MSS    *int   `json:"mss,omitempty"`    // TCP option of the SYN (RFC 9293 §3.7.1)
	Len    int    `json:"len"`              // bytes that arrived, header included
	SHA256 string `json:"sha256"`           // of these bytes
	Nonce  string `json:"nonce,omitempty"`  // of the request
	GapUs  int64  `json:"gap_us,omitempty"` // longest pause between two reads of a TCP payload
}

// Count is what a responder knows of a burst.
type Count struct {
	Burst      string `json:"burst"`
	Received   int    `json:"received"` // different sequence numbers
	Duplicates int    `json:"duplicates"`
	Gap        int    `json:"gap"`  // most numbers in a row that are missing before the highest one
	Last       int    `json:"last"` // the highest number
}

// LocalSocket is the abstract Unix socket on which the responder that has a port of a network namespace can be asked for
// its counts, whatever happened to the namespace's addresses and links.
func LocalSocket(port uint16) string { return "@cnilab-responder/" + strconv.Itoa(int(port)) }
