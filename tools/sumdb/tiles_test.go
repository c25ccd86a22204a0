package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// tiles writes the log's tiles, as tlog makes them, and its entries into a folder.
func (l *testLog) tiles(size int64) string {
	l.t.Helper()
	root := filepath.Join(l.folder, "tiles")
	put := func(path string, content []byte) {
		target := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, size) {
		raw, err := tlog.ReadTileData(tile, l)
		if err != nil {
			l.t.Fatal(err)
		}
		put(tilePath(tile), raw)
		if tile.L == 0 {
			var bundle []byte
			for _, leaf := range l.leaves[tile.N<<tileHeight:][:tile.W] {
				bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(leaf))), leaf...)
			}
			tile.L = -1
			put(tilePath(tile), bundle)
		}
	}
	raw, err := os.ReadFile(l.checkpoint(size))
	if err != nil {
		l.t.Fatal(err)
	}
	put("checkpoint", raw)
	return root
}

func TestTiles(t *testing.T) {
	log := newTestLog(t, 600)
	root := log.tiles(600)
	if status := run([]string{"tiles", "-key", log.vkey, root}, os.Stdout, os.Stderr); status != 0 {
		t.Fatalf("honest tiles: status %d", status)
	}
	for _, name := range []string{"tile/entries/000", "tile/entries/002.p/88", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"} {
		path := filepath.Join(root, name)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Clone(raw)
		changed[len(raw)/2] ^= 1
		for _, damaged := range [][]byte{changed, raw[:len(raw)-1]} {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			if status := run([]string{"tiles", "-key", log.vkey, root}, os.Stdout, &stderr); status != 1 {
				t.Errorf("%s damaged: status %d, %s", name, status, stderr.String())
			}
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCosigned(t *testing.T) {
	log := newTestLog(t, 3)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	const name = "witness.example/w1"
	material := append([]byte{4}, public...)
	id := sha256.Sum256(append([]byte(name+"\n"), material...))
	vkey := fmt.Sprintf("%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(material))
	raw, err := os.ReadFile(log.checkpoint(3))
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(raw), "\n\n")
	line := func(stamp, signed uint64) []byte {
		message := fmt.Sprintf("cosignature/v1\ntime %d\n%s\n", signed, text)
		body := append(bytes.Clone(id[:4]), binary.BigEndian.AppendUint64(nil, stamp)...)
		body = append(body, ed25519.Sign(private, []byte(message))...)
		return fmt.Appendf(nil, "\u2014 %s %s\n", name, base64.StdEncoding.EncodeToString(body))
	}
	for _, one := range []struct {
		content []byte
		status  int
	}{
		{append(bytes.Clone(raw), line(7, 7)...), 0},
		{append(bytes.Clone(raw), line(7, 8)...), 1},
		{raw, 1},
	} {
		path := log.write("cosigned", one.content)
		if status := run([]string{"cosigned", "-key", log.vkey, "-witness", vkey, path}, os.Stdout, os.Stderr); status != one.status {
			t.Errorf("status %d, want %d", status, one.status)
		}
	}
}
