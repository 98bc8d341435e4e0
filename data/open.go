package data

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"muster/fault"
)

// Limit bounds what a reader takes. Zero fields take the defaults in parentheses.
type Limit struct {
	Bytes      int64 // of the file after decompression (256 MiB)
	Rows       int   // (5,000,000)
	Columns    int   // (16,384)
	Cells      int   // rows times columns, or pixels in all (64 Mi)
	Categories int   // of one column (4,096)
}

func (l Limit) orDefault() Limit {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	if l.Bytes <= 0 {
		l.Bytes = 256 << 20
	}
	def(&l.Rows, 5_000_000)
	def(&l.Columns, 16_384)
	def(&l.Cells, 64<<20)
	def(&l.Categories, 4096)
	return l
}

// Header says whether the first line of a CSV file names the columns.
type Header string

// Header modes. Auto takes the first line as names if no cell of it is empty or a number.
const (
	Auto     Header = ""
	NoHeader Header = "no"
	Names    Header = "yes"
)

// NoTarget as OpenConfig.Target says that no column is the label.
const NoTarget = "-"

// OpenConfig says how to read a source. The zero value reads what it can tell.
type OpenConfig struct {
	Target  string      // label column; "" is the last column, NoTarget is none
	Schema  *Schema     // declared columns; nil: types are inferred
	Header  Header      // of a CSV file
	Comma   rune        // of a CSV file; 0 is ','
	Missing []string    // cells that mean "no value"; nil: see MissingCells
	Image   string      // "CxHxW": the features of a CSV file are the pixels of one image; or the size that a folder's images must have
	Range   *[2]float64 // declared range of the pixels; nil: 0..255 for IDX and folders, none for CSV
	Labels  string      // file with the labels of an IDX file; "": the images' name with images-idx3 replaced by labels-idx1
	Limit   Limit
}

// Open reads a set. The source is "builtin:digits", "builtin:fashion" or
// "builtin:german-credit", a folder with one folder of images for each class,
// or a file: .csv, .csv.gz, or IDX (a name with "idx3", plain or .gz).
func Open(source string, cfg OpenConfig) (*Set, error) {
	if name, ok := strings.CutPrefix(source, "builtin:"); ok {
		return openBuiltin(name, cfg)
	}
	info, err := os.Stat(source)
	if err != nil {
		return nil, notFound(source, err)
	}
	base := strings.ToLower(filepath.Base(source))
	switch plain := strings.TrimSuffix(base, ".gz"); {
	case info.IsDir():
		return openFolder(source, cfg)
	case strings.HasSuffix(plain, ".csv"):
		b, err := readFile(source, cfg.Limit.orDefault().Bytes)
		if err != nil {
			return nil, err
		}
		s, err := ParseCSV(source, b, cfg)
		return named(s, source), err
	case strings.Contains(plain, "idx"):
		return openIDX(source, cfg)
	}
	return nil, fault.New(fault.Unsupported, source, "not a kind of file that Muster reads").
		WithHint("give a .csv or .csv.gz file, an IDX file with idx3 in its name, a folder of class folders with images, or one of %s", strings.Join(Builtins(), ", "))
}

func named(s *Set, source string) *Set {
	if s != nil {
		s.Name, _, _ = strings.Cut(filepath.Base(source), ".")
	}
	return s
}

func notFound(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, path, "no such file").WithHint("check the path; data sets in the binary are %s", strings.Join(Builtins(), ", "))
	}
	return fault.New(fault.Denied, path, "cannot be read: %w", err)
}

// readFile returns the content of a file, decompressed if its name ends in .gz.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, notFound(path, err)
	}
	defer f.Close()
	return readAll(path, f, limit)
}

func readAll(name string, r io.Reader, limit int64) ([]byte, error) {
	if strings.HasSuffix(strings.ToLower(name), ".gz") {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fault.New(fault.Malformed, name, "not gzip: %w", err)
		}
		r = z
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fault.New(fault.Malformed, name, "after %d bytes: %w", len(b), err).WithHint("the file is damaged or cut off; get it again")
	}
	if int64(len(b)) > limit {
		return nil, fault.New(fault.Exhausted, name, "more than %d bytes", limit).WithHint("raise the limit if the machine has the memory")
	}
	return b, nil
}

// gunzipped is readAll for bytes.
func gunzipped(name string, b []byte, limit int64) ([]byte, error) {
	return readAll(name, bytes.NewReader(b), limit)
}

// parseImageShape reads "CxHxW".
func parseImageShape(s string, limit Limit) (c, h, w int, err error) {
	var rest string
	n, _ := fmt.Sscanf(s+"\n", "%dx%dx%d%s", &c, &h, &w, &rest)
	if n != 3 || c < 1 || h < 1 || w < 1 || c > 4 || h > limit.Cells/c || w > limit.Cells/(c*h) {
		return 0, 0, 0, fault.New(fault.Malformed, "image", "%q is not a size of images", s).WithHint("write channels x height x width, such as 1x8x8")
	}
	return c, h, w, nil
}
