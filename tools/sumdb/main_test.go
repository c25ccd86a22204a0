package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const origin = "log.example/placet"

// testLog is a log in memory whose checkpoints and proofs are made by tlog itself.
type testLog struct {
	t      *testing.T
	folder string
	vkey   string
	signer note.Signer
	leaves [][]byte
	stored []tlog.Hash
}

func newTestLog(t *testing.T, size int) *testLog {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	log := &testLog{t: t, folder: t.TempDir(), vkey: vkey, signer: signer}
	for n := range size {
		leaf := fmt.Appendf(nil, "decision %d", n)
		hashes, err := tlog.StoredHashes(int64(n), leaf, log)
		if err != nil {
			t.Fatal(err)
		}
		log.leaves = append(log.leaves, leaf)
		log.stored = append(log.stored, hashes...)
	}
	return log
}

func (l *testLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for n, index := range indexes {
		hashes[n] = l.stored[index]
	}
	return hashes, nil
}

func (l *testLog) write(name string, content []byte) string {
	l.t.Helper()
	path := filepath.Join(l.folder, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

func (l *testLog) checkpoint(size int64) string {
	l.t.Helper()
	root, err := tlog.TreeHash(size, l)
	if err != nil {
		l.t.Fatal(err)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, size, root)
	signed, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.write(fmt.Sprintf("checkpoint-%d", size), signed)
}

func (l *testLog) proof(index, size int64, leaf []byte) string {
	l.t.Helper()
	hashes, err := tlog.ProveRecord(size, index, l)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.json("proof.json", map[string]any{
		"leaf": base64.StdEncoding.EncodeToString(leaf), "index": index, "size": size, "hashes": encode(hashes),
	})
}

func (l *testLog) json(name string, value any) string {
	l.t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.write(name, raw)
}

func encode(hashes []tlog.Hash) []string {
	encoded := []string{}
	for _, hash := range hashes {
		encoded = append(encoded, hash.String())
	}
	return encoded
}

func call(args ...string) (int, string, string) {
	var stdout, stderr bytes.Buffer
	status := run(args, &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

func expect(t *testing.T, want int, args ...string) {
	t.Helper()
	if status, stdout, stderr := call(args...); status != want {
		t.Fatalf("%v: status %d, want %d\n%s%s", args, status, want, stdout, stderr)
	}
}

func TestCheckpointPrintsOriginSizeAndRoot(t *testing.T) {
	log := newTestLog(t, 7)
	root, err := tlog.TreeHash(7, log)
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := call("checkpoint", "-key", log.vkey, log.checkpoint(7))
	if want := fmt.Sprintf("%s 7 %x\n", origin, root[:]); status != 0 || stdout != want || stderr != "" {
		t.Fatalf("status %d, stdout %q, want %q, stderr %q", status, stdout, want, stderr)
	}
}

func TestCheckpointRejectsEveryChangedByte(t *testing.T) {
	log := newTestLog(t, 7)
	signed, err := os.ReadFile(log.checkpoint(7))
	if err != nil {
		t.Fatal(err)
	}
	// The two bits that the signature's last character has too many are not looked at by sumdb/note: they sign nothing.
	spare := len(signed) - len("?=\n")
	for n := range signed {
		if n == spare {
			continue
		}
		changed := bytes.Clone(signed)
		changed[n] ^= 1
		expect(t, 1, "checkpoint", "-key", log.vkey, log.write("changed", changed))
	}
}

func TestCheckpointRejectsAnotherKey(t *testing.T) {
	expect(t, 1, "checkpoint", "-key", newTestLog(t, 1).vkey, newTestLog(t, 1).checkpoint(1))
}

func TestProofHoldsForEveryRecordAndNoOther(t *testing.T) {
	log := newTestLog(t, 11)
	checkpoint := log.checkpoint(11)
	for n := range int64(11) {
		good := log.proof(n, 11, log.leaves[n])
		expect(t, 0, "proof", "-key", log.vkey, "-checkpoint", checkpoint, "-proof", good)
		bad := log.proof(n, 11, []byte("another decision"))
		expect(t, 1, "proof", "-key", log.vkey, "-checkpoint", checkpoint, "-proof", bad)
	}
}

func TestProofOfAnotherSizeIsRejected(t *testing.T) {
	log := newTestLog(t, 11)
	older := log.proof(3, 10, log.leaves[3])
	expect(t, 1, "proof", "-key", log.vkey, "-checkpoint", log.checkpoint(11), "-proof", older)
}

func TestProofThatNamesNoIndexIsRejected(t *testing.T) {
	log := newTestLog(t, 1)
	empty := log.json("proof.json", map[string]any{"leaf": "", "size": 1, "hashes": []string{}})
	expect(t, 1, "proof", "-key", log.vkey, "-checkpoint", log.checkpoint(1), "-proof", empty)
}

func TestConsistencyHoldsForEverySizeAndNotForAFork(t *testing.T) {
	log := newTestLog(t, 11)
	newer := log.checkpoint(11)
	for n := int64(1); n <= 11; n++ {
		hashes, err := tlog.ProveTree(11, n, log)
		if err != nil {
			t.Fatal(err)
		}
		older := log.checkpoint(n)
		good := log.json("good.json", map[string]any{"hashes": encode(hashes)})
		expect(t, 0, "consistency", "-key", log.vkey, "-old", older, "-new", newer, "-proof", good)
		bad := log.json("bad.json", map[string]any{"hashes": append(encode(hashes), hashesOf("fork")...)})
		expect(t, 1, "consistency", "-key", log.vkey, "-old", older, "-new", newer, "-proof", bad)
	}
}

func hashesOf(text string) []string {
	return encode([]tlog.Hash{tlog.RecordHash([]byte(text))})
}

func TestWrongUsageIsNotAFailedVerification(t *testing.T) {
	for _, args := range [][]string{{}, {"nonsense"}, {"checkpoint", "-key", "k"}, {"proof", "-key", "k"}} {
		status, _, stderr := call(args...)
		if status != 2 || !strings.Contains(stderr, "Usage:") {
			t.Fatalf("%v: status %d, stderr %q", args, status, stderr)
		}
	}
}
