package main

func vec(a *asm) {}
