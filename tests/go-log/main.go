// Command go-log checks an exported log with Go's own implementation of transparency logs, golang.org/x/mod/sumdb, and
// with nothing of countersign.
//
//	go-log tiles KEY DIR [OLDER-CHECKPOINT...]   the checkpoint, every tile, every entry, an inclusion proof of each entry,
//	                                             and a consistency proof from each older checkpoint
//	go-log proof KEY PROOF                       a tlog-proof file, whose extra data is the entry
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	if len(os.Args) < 4 {
		fail("usage: go-log tiles KEY DIR [CHECKPOINT...] | go-log proof KEY PROOF")
	}
	verifier, err := note.NewVerifier(os.Args[2])
	check(err)
	switch os.Args[1] {
	case "tiles":
		checkTiles(verifier, os.Args[3], os.Args[4:])
	case "proof":
		checkProof(verifier, os.Args[3])
	default:
		fail("unknown command " + os.Args[1])
	}
}

// open returns the tree that a checkpoint by the log's key describes.
func open(verifier note.Verifier, msg []byte) tlog.Tree {
	n, err := note.Open(msg, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		fail("a checkpoint of another form, or of another log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	hash, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: hash}
}

// reader reads tiles in the layout of c2sp.org/tlog-tiles, where the height is always 8 and is not in the path.
type reader struct{ dir string }

func (r reader) Height() int { return height }

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(r.dir, "tile", strings.TrimPrefix(tile.Path(), "tile/8/")))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

// entries returns what the bundles of a log of this size contain.
func entries(dir string, size int64) [][]byte {
	var all [][]byte
	for n := int64(0); n*256 < size; n++ {
		width := size - n*256
		if width > 256 {
			width = 256
		}
		tile := tlog.Tile{H: height, L: 0, N: n, W: int(width)}
		path := strings.TrimPrefix(tile.Path(), "tile/8/0/")
		data, err := os.ReadFile(filepath.Join(dir, "tile/entries", path))
		check(err)
		for i := int64(0); i < width; i++ {
			if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
				fail(fmt.Sprintf("bundle %d ends before entry %d", n, n*256+i))
			}
			length := int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
		if len(data) > 0 {
			fail(fmt.Sprintf("bundle %d has more than its entries", n))
		}
	}
	return all
}

func checkTiles(verifier note.Verifier, dir string, older []string) {
	msg, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	check(err)
	tree := open(verifier, msg)
	// Every hash that is read is checked against the checkpoint.
	hashes := tlog.TileHashReader(tree, reader{dir})
	for n, entry := range entries(dir, tree.N) {
		proof, err := tlog.ProveRecord(tree.N, int64(n), hashes)
		check(err)
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(n), tlog.RecordHash(entry)); err != nil {
			fail(fmt.Sprintf("entry %d: %v", n, err))
		}
	}
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		// Of the last tile of a level this lists each width that it ever had.
		if tile.W < 1<<height && int64(tile.W) != tree.N>>(height*tile.L)-tile.N<<height {
			continue
		}
		data, err := reader{dir}.ReadTiles([]tlog.Tile{tile})
		check(err)
		expected, err := tlog.ReadTileData(tile, hashes)
		check(err)
		if !bytes.Equal(data[0], expected) {
			fail("tile " + tile.Path() + " is not the tree's")
		}
	}
	for _, path := range older {
		msg, err := os.ReadFile(path)
		check(err)
		old := open(verifier, msg)
		if old.N > tree.N {
			fail(fmt.Sprintf("%s: %d entries were there, %d are left", path, old.N, tree.N))
		}
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		check(err)
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			fail(fmt.Sprintf("%s: the log does not go on from it: %v", path, err))
		}
	}
	fmt.Printf("%d entries, %d older checkpoints\n", tree.N, len(older))
}

func checkProof(verifier note.Verifier, path string) {
	data, err := os.ReadFile(path)
	check(err)
	head, checkpoint, found := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" ||
		!strings.HasPrefix(lines[1], "extra ") || !strings.HasPrefix(lines[2], "index ") {
		fail("not a proof with an entry")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	check(err)
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	check(err)
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		check(err)
		proof = append(proof, hash)
	}
	tree := open(verifier, checkpoint)
	check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)))
	fmt.Printf("entry %d of %d\n%s\n", index, tree.N, entry)
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, "go-log: "+text)
	os.Exit(1)
}
