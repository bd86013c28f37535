package wire

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

func TestFrameCarriesItsHeader(t *testing.T) {
	want := Header{Kind: Burst, Nonce: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Number: 199}
	got, ok := Parse(Frame(want, 64))
	if !ok || got != want {
		t.Fatalf("got %+v, %v", got, ok)
	}
}

func TestFrameIsNeverShorterThanItsHeader(t *testing.T) {
	for _, size := range []int{-1, 0, 19, 20, 21} {
		if got := len(Frame(Header{}, size)); got != max(size, HeaderLen) {
			t.Errorf("size %d: %d bytes", size, got)
		}
	}
}

func TestForeignBytesAreNoFrame(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("CNIL"), []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), make([]byte, 64)} {
		if _, ok := Parse(b); ok {
			t.Errorf("%q was taken for a frame", b)
		}
	}
}

func TestFillingDependsOnTheNonceAndDoesNotRepeat(t *testing.T) {
	one, other := Frame(Header{Nonce: [8]byte{9}}, 4096), Frame(Header{Nonce: [8]byte{10}}, 4096)
	if sha256.Sum256(one[HeaderLen:]) == sha256.Sum256(other[HeaderLen:]) {
		t.Error("two nonces, one filling")
	}
	if bytes.Equal(one[HeaderLen:HeaderLen+1024], one[HeaderLen+1024:HeaderLen+2048]) {
		t.Error("the filling repeats after 1 KiB: swapped segments would go unseen")
	}
}

func TestBurstKeysDiffer(t *testing.T) {
	if BurstKey("x-0-1") == BurstKey("x-1-0") {
		t.Error("two bursts are counted as one")
	}
}
