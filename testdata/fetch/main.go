// Command fetch writes the files of data/builtin from unpacked Debian packages:
//
//	go run ./testdata/fetch UNPACKED data/builtin
//
// fetch.sh next to it gets the packages at their pinned versions and checks them.
//
//   - digits.csv.gz is copied byte for byte.
//   - The Fashion-MNIST slice is the first 300 images of each class in the order of
//     the test file, still in that order, as an IDX pair.
//   - german-credit.csv has a header line with the attribute names of the ARFF file
//     and its 1,000 rows in order; values are unchanged, quotes as RFC 4180 wants them.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
)

const perClass = 300

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: fetch UNPACKED OUT")
	}
	in, out := os.Args[1], os.Args[2]
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(out, name), b, 0o644); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-32s %d bytes\n", name, len(b))
	}
	write("digits.csv.gz", read(in, "usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz"))
	images, labels := fashion(
		gunzip(read(in, "usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")),
		gunzip(read(in, "usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz")))
	write("fashion-images-idx3-ubyte.gz", gzipped(images))
	write("fashion-labels-idx1-ubyte.gz", gzipped(labels))
	write("german-credit.csv", credit(read(in, "usr/share/doc/weka/examples/credit-g.arff")))
}

func read(dir, name string) []byte {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		log.Fatal(err)
	}
	return b
}

func gunzip(b []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		log.Fatal(err)
	}
	if b, err = io.ReadAll(z); err != nil {
		log.Fatal(err)
	}
	return b
}

// gzipped has no name and no time in its header, so that the bytes depend on b only.
func gzipped(b []byte) []byte {
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	z.Write(b)
	z.Close()
	return buf.Bytes()
}

// fashion keeps the first perClass images of each class.
func fashion(images, labels []byte) ([]byte, []byte) {
	const head, size = 16, 28 * 28
	var px, lb []byte
	var count [10]int
	for i, l := range labels[8:] {
		if count[l] == perClass {
			continue
		}
		count[l]++
		lb = append(lb, l)
		px = append(px, images[head+i*size:head+(i+1)*size]...)
	}
	n := uint32(len(lb))
	var ih, lh []byte
	for _, v := range []uint32{0x803, n, 28, 28} {
		ih = binary.BigEndian.AppendUint32(ih, v)
	}
	for _, v := range []uint32{0x801, n} {
		lh = binary.BigEndian.AppendUint32(lh, v)
	}
	return append(ih, px...), append(lh, lb...)
}

// credit turns the ARFF file into CSV.
func credit(arff []byte) []byte {
	var names []string
	var rows [][]string
	inData := false
	s := bufio.NewScanner(bytes.NewReader(arff))
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		switch {
		case line == "" || line[0] == '%':
		case inData:
			rows = append(rows, fields(line))
		case strings.EqualFold(line, "@data"):
			inData = true
		case strings.HasPrefix(strings.ToLower(line), "@attribute"):
			names = append(names, strings.Fields(line)[1])
		}
	}
	var buf bytes.Buffer
	w := csv.NewWriter(&buf)
	w.Write(names)
	w.WriteAll(rows)
	return buf.Bytes()
}

// fields splits an ARFF row: commas outside single quotes, quotes removed.
func fields(line string) []string {
	var out []string
	var cur strings.Builder
	quoted := false
	for _, r := range line {
		switch {
		case r == '\'':
			quoted = !quoted
		case r == ',' && !quoted:
			out = append(out, cur.String())
			cur.Reset()
		default:
			cur.WriteRune(r)
		}
	}
	return append(out, cur.String())
}
