package kernel

import (
	"unsafe"

	"muster/internal/cpu"
	"muster/internal/team"
)

// Winograd is a 3 x 3 convolution with stride 1 by the minimal algorithm F(2x2, 3x3) of Lavin and Gray (arXiv
// 1509.09308): 4 x 4 patches of X and the weights are transformed, 16 products of matrices take the place of one with 9
// times the depth, and 2 x 2 outputs are transformed back. It does 16 multiplications where the plain form does 36.
//
// The sums of the transforms are added in the order of their formulas; the products are chains over the channels.
type Winograd struct {
	N, C, M          int
	H, W, OutH, OutW int
	PadH, PadW       int
	Back             bool      // the weights are those of the convolution that this one is the adjoint of
	X, Y             []float32 // channels last
	U                []float32 // packed by Pack: 16 matrices [C, M] in panels
	Bias             []float32
	Post             Post // as in Conv

	tilesH, tilesW int
	block          int // tiles of a task
	nj             int
	zero           []float32
	tier           cpu.Tier
	src, dst       []float32
	run            func(int)
	pack           func(int)
}

// Plan prepares the geometry.
func (v *Winograd) Plan() {
	v.tilesH, v.tilesW, v.nj = ceilDiv(v.OutH, 2), ceilDiv(v.OutW, 2), panels(v.M)
	tiles := v.N * v.tilesH * v.tilesW
	v.block = min(winoTiles, max(14, winoFloats/(16*v.C)/14*14))
	v.block = max(14, min(v.block, ceilDiv(tiles, 8)))
	v.zero = make([]float32, max(v.C, v.M)+16)
	v.run, v.pack = v.task, v.packTask
}

// Bounds of a task: tiles, and elements of their transformed patches.
const (
	winoTiles  = 112
	winoFloats = 1 << 17
)

// WinogradFits reports whether the patches of one task have room.
func WinogradFits(C int) bool { return 14*16*C <= winoFloats }

// PackedSize is the length of U.
func (v *Winograd) PackedSize() int { return 16 * panels(v.M) * v.C * panel }

// Pack transforms the weights w [M, C, 3, 3] to dst; with Back w is [C, M, 3, 3] and turned around.
func (v *Winograd) Pack(dst, w []float32) {
	v.src, v.dst = w, dst
	team.Run(v.nj*ceilDiv(v.C, packChannels), v.pack)
	v.src, v.dst = nil, nil
}

// packChannels is the input channels of one packing task.
const packChannels = 64

// packTask transforms the weights of one panel for some input channels.
func (v *Winograd) packTask(t int) {
	j, c0 := t%v.nj, t/v.nj*packChannels
	width, plane := min(panel, v.M-j*panel), v.nj*v.C*panel
	for c := c0; c < min(c0+packChannels, v.C); c++ {
		dst := v.dst[(j*v.C+c)*panel:]
		for m := 0; m < width; m++ {
			var u [16]float32
			if v.Back {
				g := (*[9]float32)(v.src[(c*v.M+j*panel+m)*9:])
				u = winoWeights(&[9]float32{g[8], g[7], g[6], g[5], g[4], g[3], g[2], g[1], g[0]})
			} else {
				u = winoWeights((*[9]float32)(v.src[((j*panel+m)*v.C+c)*9:]))
			}
			for k, x := range u {
				dst[k*plane+m] = x
			}
		}
		for k := 0; k < 16 && width < panel; k++ {
			clear(dst[k*plane+width : k*plane+panel])
		}
	}
}

// winoWeights is G g G' with G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1]; halving is exact.
func winoWeights(g *[9]float32) (u [16]float32) {
	var t [12]float32
	for j := 0; j < 3; j++ {
		a, b, d := g[j], g[3+j], g[6+j]
		s := a + d
		t[j], t[3+j], t[6+j], t[9+j] = a, (s+b)*0.5, (s-b)*0.5, d
	}
	for i := 0; i < 4; i++ {
		a, b, d := t[3*i], t[3*i+1], t[3*i+2]
		s := a + d
		u[4*i], u[4*i+1], u[4*i+2], u[4*i+3] = a, (s+b)*0.5, (s-b)*0.5, d
	}
	return u
}

// winoBuffers are what a task works in.
type winoBuffers struct {
	patches  [winoFloats + 16]float32        // [16][tiles][C]
	products [16 * winoTiles * panel]float32 // [16][tiles][32]
	edge     [panel]float32                  // where outputs beyond the border go
}

var winos = pool[winoBuffers]{make: func() *winoBuffers { return &winoBuffers{} }}

// Run computes Y.
func (v *Winograd) Run() {
	v.tier = cpu.Active()
	team.Run(ceilDiv(v.N*v.tilesH*v.tilesW, v.block), v.run)
}

// patch is the argument of the transforms: pointers to 16 places of X or 4 of Y, and matrices that are step bytes apart.
type patch struct {
	at   [16]unsafe.Pointer
	mat  unsafe.Pointer
	step int
	bias unsafe.Pointer
	size int    // bytes
	mask uint64 // of the last vector
}

// task computes a block of tiles.
func (v *Winograd) task(t int) {
	t0 := t * v.block
	n := min(v.block, v.N*v.tilesH*v.tilesW-t0)
	b := winos.get()
	defer winos.put(b)
	for i := 0; i < n; i++ {
		v.into(b, t0+i, i, n)
	}
	for j := 0; j < v.nj; j++ {
		width := min(panel, v.M-j*panel)
		for k := 0; k < 16; k++ {
			u := operand{data: v.U[(k*v.nj+j)*v.C*panel:], row: panel, width: width, padded: true}
			gemmLong(v.tier, n, v.C, b.patches[k*n*v.C:], u, b.products[k*n*panel:], panel)
		}
		for i := 0; i < n; i++ {
			v.outOf(b, t0+i, i, n, j*panel, width)
		}
	}
	if v.Post.wanted() {
		for i := 0; i < n; i++ {
			v.finish(t0 + i)
		}
	}
}

// gemmLong is gemmRows from zero in passes of kBlock.
func gemmLong(tier cpu.Tier, m, k int, a []float32, b operand, c []float32, ldc int) {
	data := b.data
	for k0 := 0; k0 < k; k0 += kBlock {
		mode := fromC
		if k0 == 0 {
			mode = fromZero
		}
		b.data = data[k0*b.row:]
		gemmRows(tier, m, min(kBlock, k-k0), a[k0:], k, 1, b, c, ldc, mode, nil)
	}
}

// place is the image and the first output of a tile.
func (v *Winograd) place(t int) (n, h, w int) {
	return t / v.tilesW / v.tilesH, t / v.tilesW % v.tilesH * 2, t % v.tilesW * 2
}

// into transforms the patch of tile t to row i of the 16 matrices of n rows.
func (v *Winograd) into(b *winoBuffers, t, i, n int) {
	img, h, w := v.place(t)
	var p patch
	for r := 0; r < 4; r++ {
		for q := 0; q < 4; q++ {
			y, x := h+r-v.PadH, w+q-v.PadW
			if uint(y) < uint(v.H) && uint(x) < uint(v.W) {
				p.at[4*r+q] = unsafe.Pointer(&v.X[((img*v.H+y)*v.W+x)*v.C])
			} else {
				p.at[4*r+q] = unsafe.Pointer(&v.zero[0])
			}
		}
	}
	p.mat, p.step = unsafe.Pointer(&b.patches[i*v.C]), 4*n*v.C
	runPatch(v.tier, &p, v.C, true)
}

// outOf transforms row i of the products back to the outputs of tile t, columns m0 to m0+width.
func (v *Winograd) outOf(b *winoBuffers, t, i, n, m0, width int) {
	img, h, w := v.place(t)
	var p patch
	for r := 0; r < 2; r++ {
		for q := 0; q < 2; q++ {
			if h+r < v.OutH && w+q < v.OutW {
				p.at[2*r+q] = unsafe.Pointer(&v.Y[((img*v.OutH+h+r)*v.OutW+w+q)*v.M+m0])
			} else {
				p.at[2*r+q] = unsafe.Pointer(&b.edge[0])
			}
		}
	}
	p.bias = unsafe.Pointer(&v.zero[0])
	if v.Bias != nil {
		p.bias = unsafe.Pointer(&v.Bias[m0])
	}
	p.mat, p.step = unsafe.Pointer(&b.products[i*panel]), 4*n*panel
	runPatch(v.tier, &p, width, false)
}

// runPatch runs a transform over size channels.
func runPatch(tier cpu.Tier, p *patch, size int, in bool) {
	whole := 0
	switch tier {
	case cpu.AVX512:
		whole = size
	case cpu.AVX2:
		whole = size &^ 7
	}
	if whole > 0 {
		p.size, p.mask = 4*whole, 1<<((whole-1)%16+1)-1
		patchAsm(tier, p, in)
	}
	at := func(x unsafe.Pointer, c int) *float32 { return (*float32)(unsafe.Add(x, 4*c)) }
	for c := whole; c < size; c++ {
		if in {
			patchIn(p, c, at)
		} else {
			patchOut(p, c, at)
		}
	}
}

// patchIn is the meaning of the transform of a patch: B' d B, first down the columns, then along the rows.
func patchIn(p *patch, c int, at func(unsafe.Pointer, int) *float32) {
	var d [16]float32
	for i := range d {
		d[i] = *at(p.at[i], c)
	}
	four := func(a, b, c, d float32) (float32, float32, float32, float32) { return a - c, b + c, c - b, b - d }
	for j := 0; j < 4; j++ {
		d[j], d[4+j], d[8+j], d[12+j] = four(d[j], d[4+j], d[8+j], d[12+j])
	}
	for i := 0; i < 16; i += 4 {
		d[i], d[i+1], d[i+2], d[i+3] = four(d[i], d[i+1], d[i+2], d[i+3])
	}
	for i, x := range d {
		*at(unsafe.Add(p.mat, i*p.step), c) = x
	}
}

// patchOut is the meaning of the transform back: A' m A + bias.
func patchOut(p *patch, c int, at func(unsafe.Pointer, int) *float32) {
	var m [16]float32
	for i := range m {
		m[i] = *at(unsafe.Add(p.mat, i*p.step), c)
	}
	two := func(a, b, c, d float32) (float32, float32) { return float32(a+b) + c, float32(b-c) - d }
	var s [8]float32
	for j := 0; j < 4; j++ {
		s[j], s[4+j] = two(m[j], m[4+j], m[8+j], m[12+j])
	}
	bias := *at(p.bias, c)
	for i := 0; i < 2; i++ {
		x, y := two(s[4*i], s[4*i+1], s[4*i+2], s[4*i+3])
		*at(p.at[2*i], c), *at(p.at[2*i+1], c) = x+bias, y+bias
	}
}

// finish applies residual and activation to the outputs of tile t.
func (v *Winograd) finish(t int) {
	img, h, w := v.place(t)
	for r := h; r < min(h+2, v.OutH); r++ {
		at := (img*v.OutH+r)*v.OutW + w
		v.Post.finish(v.Y, v.M, at, at+min(2, v.OutW-w), 0, v.M)
	}
}
