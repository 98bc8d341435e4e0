package main
type trainConfig struct{}
func (c *child) openTrain(t task, r *reply) error { return nil }
