package exec
import ("testing";"os";"muster/graph";"muster/tensor")
func TestX(t *testing.T) {
	d := os.Getenv("XCASE")
	g, err := graph.Load(d+"/model.onnx")
	if err != nil { t.Fatal(err) }
	var in []*tensor.Tensor
	for i, v := range g.Inputs {
		b, _ := os.ReadFile(d+"/test_data_set_0/input_"+string(rune('0'+i))+".pb")
		x, err := graph.DecodeValue(v, b)
		if err != nil { t.Fatal(err) }
		in = append(in, x)
	}
	if _, err := Eval(g, in); err != nil { t.Error("eval", err) }
	s, err := New(g, Config{})
	if err != nil { t.Fatal(err) }
	_, err = s.Run(in...)
	if err != nil { t.Error("run", err) }
	_, err = s.Run(in...)
	t.Log(err)
}
