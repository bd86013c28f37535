package kit

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func packed(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for _, header := range headers {
		body := header.Uname // what a file has, for want of a better place
		header.Uname, header.Size = "", int64(len(body))
		if err := archive.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

func TestATreeIsMadeOfDirectoriesFilesAndLinks(t *testing.T) {
	place := t.TempDir()
	source := packed(t,
		tar.Header{Name: "bin", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "bin/tool", Typeflag: tar.TypeReg, Mode: 0o755, Uname: "a program"},
		tar.Header{Name: "bin/other", Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: "tool"},
	)
	if err := tree(source, place); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(place, "bin/other"))
	if err != nil || string(text) != "a program" {
		t.Fatalf("%q, %v", text, err)
	}
	info, err := os.Stat(filepath.Join(place, "bin/tool"))
	if err != nil || info.Mode() != 0o755 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
}

func TestNothingIsWrittenOutsideOfTheTree(t *testing.T) {
	for _, name := range []string{"../x", "/x", "a/../../x"} {
		err := tree(packed(t, tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}), t.TempDir())
		if err == nil || !strings.Contains(err.Error(), "outside") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNeitherDirectoryNorFileNorLinkIsRefused(t *testing.T) {
	err := tree(packed(t, tar.Header{Name: "x", Typeflag: tar.TypeChar, Mode: 0o644}), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "not expected") {
		t.Error(err)
	}
}
