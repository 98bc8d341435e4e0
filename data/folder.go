package data

import (
	"bytes"
	"image"
	"image/color"
	_ "image/jpeg" // decoders for image.Decode
	_ "image/png"
	"os"
	"path/filepath"
	"strings"

	"muster/fault"
	"muster/tensor"
)

// openFolder reads dir/CLASS/*.png|jpg|jpeg. Classes and files are taken in the order
// of their names; names that start with a dot are passed over, anything else that is
// not an image is an error. Pixels are 0 to 255, one channel if all images are grey,
// three otherwise. All images have the size of the first, or that of cfg.Image.
func openFolder(dir string, cfg OpenConfig) (*Set, error) {
	limit := cfg.Limit.orDefault()
	files, classes, err := listFolder(dir, limit)
	if err != nil {
		return nil, err
	}
	f := &folder{limit: limit}
	if cfg.Image != "" {
		if f.c, f.h, f.w, err = parseImageShape(cfg.Image, limit); err != nil {
			return nil, err
		}
	}
	s := &Set{Name: filepath.Base(dir), Source: dir}
	codes := make([]int64, 0, len(files))
	for _, e := range files {
		if err := f.add(e.path); err != nil {
			return nil, err
		}
		codes = append(codes, e.code)
	}
	if f.c == 1 && f.colour || f.c == 2 || f.c == 4 {
		return nil, fault.New(fault.Mismatch, dir, "the images do not have the %d channels that were declared", f.c).WithHint("grey images have 1 channel, colour images 3")
	}
	img := f.column(cfg.Range)
	s.Columns = []*Column{img}
	if cfg.Target != NoTarget {
		if s.Target = cfg.Target; s.Target == "" {
			s.Target = "label"
		}
		s.Columns = append(s.Columns, &Column{Name: s.Target, Kind: Categorical, Values: tensor.OfInt64(codes, len(codes)), Categories: classes})
	}
	return s, s.Validate()
}

type folderFile struct {
	path string
	code int64
}

func listFolder(dir string, limit Limit) (files []folderFile, classes []string, err error) {
	top, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, nil, notFound(dir, err)
	}
	for _, d := range top {
		if strings.HasPrefix(d.Name(), ".") {
			continue
		}
		sub := filepath.Join(dir, d.Name())
		if !d.IsDir() {
			return nil, nil, fault.New(fault.Unsupported, sub, "a file next to the class folders").WithHint("a folder of images has one folder for each class and nothing else")
		}
		entries, err := os.ReadDir(sub)
		if err != nil {
			return nil, nil, notFound(sub, err)
		}
		for _, e := range entries {
			path := filepath.Join(sub, e.Name())
			switch strings.ToLower(filepath.Ext(e.Name())) {
			case ".png", ".jpg", ".jpeg":
				files = append(files, folderFile{path, int64(len(classes))})
			default:
				if !strings.HasPrefix(e.Name(), ".") {
					return nil, nil, fault.New(fault.Unsupported, path, "not a .png, .jpg or .jpeg file").WithHint("move it out of the folder")
				}
			}
		}
		if len(files) > limit.Rows {
			return nil, nil, fault.New(fault.Exhausted, dir, "more than %d images", limit.Rows)
		}
		classes = append(classes, d.Name())
	}
	if len(files) == 0 {
		return nil, nil, fault.New(fault.Malformed, dir, "no images").WithHint("put the images in one folder for each class")
	}
	return files, classes, nil
}

// folder collects the pixels of images of one size, three channels each.
type folder struct {
	limit   Limit
	c, h, w int  // the size; 0 before the first image, c 0 if it was not declared
	colour  bool // an image is not grey
	n       int
	px      []uint8 // N H W 3
}

// add decodes one file. Its size is read and checked before its pixels.
func (f *folder) add(path string) error {
	b, err := readFile(path, f.limit.Bytes)
	if err != nil {
		return err
	}
	head, kind, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return fault.New(fault.Malformed, path, "not an image: %w", err).WithHint("%s; remove or replace the file", good(f.n+1))
	}
	if f.h == 0 {
		f.h, f.w = head.Height, head.Width
	}
	if head.Height != f.h || head.Width != f.w {
		return fault.New(fault.Mismatch, path, "%d x %d pixels where %d x %d are expected", head.Height, head.Width, f.h, f.w).
			WithHint("bring all images to one size first")
	}
	if f.h < 1 || f.w < 1 || f.w > f.limit.Cells/3/f.h || f.n >= f.limit.Cells/3/f.h/f.w {
		return fault.New(fault.Exhausted, path, "%d images of %d x %d pixels are more than the limit of %d values", f.n+1, f.h, f.w, f.limit.Cells)
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return fault.New(fault.Malformed, path, "a broken %s: %w", kind, err).WithHint("%s; remove or replace the file", good(f.n+1))
	}
	f.take(img)
	return nil
}

func (f *folder) take(img image.Image) {
	at := img.Bounds().Min
	for y := range f.h {
		for x := range f.w {
			c := color.NRGBAModel.Convert(img.At(at.X+x, at.Y+y)).(color.NRGBA)
			f.colour = f.colour || c.R != c.G || c.G != c.B
			f.px = append(f.px, c.R, c.G, c.B)
		}
	}
	f.n++
}

// column turns N H W 3 bytes into N C H W numbers.
func (f *folder) column(rng *[2]float64) *Column {
	c := f.c
	if c == 0 {
		c = 1
		if f.colour {
			c = 3
		}
	}
	out := tensor.New(tensor.Float32, f.n, c, f.h, f.w)
	v, plane := out.Float32s(), f.h*f.w
	for i := range f.n {
		for k := range c {
			for p := range plane {
				v[(i*c+k)*plane+p] = float32(f.px[(i*plane+p)*3+k])
			}
		}
	}
	lo, hi := 0.0, 255.0
	if rng != nil {
		lo, hi = rng[0], rng[1]
	}
	return &Column{Name: "image", Kind: Image, Values: out, Min: &lo, Max: &hi}
}
