package simnet

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// broken lists the bounds that a result does not keep.
func (s Scenario) broken(r Result) (out []string) {
	for i, q := range r.Requests {
		g := q.Groups[0]
		no := func(format string, args ...any) {
			out = append(out, fmt.Sprintf("request %d: ", i+1)+fmt.Sprintf(format, args...))
		}
		if share := float64(g.Reached) / float64(max(1, g.Nodes)); share < s.Must.Reached {
			no("%d of %d homes have it, the least is %v", g.Reached, g.Nodes, s.Must.Reached)
		}
		for _, b := range []struct {
			name string
			is   float64
			most Duration
		}{{"p50", g.P50, s.Must.P50}, {"p99", g.P99, s.Must.P99}, {"max", g.Max, s.Must.Max}, {"late", g.LateMax, s.Must.Late}} {
			if most := float64(b.most) / 1e6; most > 0 && b.is > most {
				no("%s is %v ms, the most is %v", b.name, b.is, most)
			}
		}
		for _, b := range []struct {
			name string
			is   *float64
			most float64
		}{{"copies", g.Copies, s.Must.Copies}, {"bytes", g.Bytes, s.Must.Bytes}} {
			if b.most > 0 && b.is != nil && *b.is > b.most {
				no("%v %s per home, the most is %v", *b.is, b.name, b.most)
			}
		}
	}
	return out
}

// Table writes the result for a terminal.
func (r Result) Table(w io.Writer) error {
	nodes := "whole nodes"
	if r.Model {
		nodes = "graph model"
	}
	fmt.Fprintf(w, "%s: %d homes, %d stewards, %s, seed %d\n", r.Scenario, r.Homes, r.Stewards, nodes, r.Seed)
	fmt.Fprintf(w, "%s s of virtual time in %.1f s, %.0f MB\n\n", number(r.Virtual), r.Wall, float64(r.Memory)/1e6)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "request\tat s\twho\treached\tp50 ms\tp99 ms\tmax ms\tlate\tlate max ms\tcopies\tbytes")
	for i, q := range r.Requests {
		for k, g := range q.Groups {
			first := []string{"", ""}
			if k == 0 {
				first = []string{strconv.Itoa(i + 1), number(q.Asked)}
			}
			fmt.Fprintln(t, strings.Join(append(first, g.cells()...), "\t"))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, b := range r.Broken {
		fmt.Fprintf(w, "\nFAILED %s\n", b)
	}
	return nil
}

func (g Group) cells() []string {
	dash := func(show bool, v float64) string {
		if !show {
			return "-"
		}
		return number(v)
	}
	counted := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return number(*v)
	}
	onTime := g.Reached > g.Late
	return []string{g.Who, fmt.Sprintf("%d/%d", g.Reached, g.Nodes), dash(onTime, g.P50), dash(onTime, g.P99), dash(onTime, g.Max),
		strconv.Itoa(g.Late), dash(g.Late > 0, g.LateMax), counted(g.Copies), counted(g.Bytes)}
}

// number writes a figure with a decimal where that is of the first three digits.
func number(v float64) string {
	if v < 100 {
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

//go:embed report.html
var page string

// HTML writes the result as one page that asks nobody for anything and works without JavaScript.
func (r Result) HTML(w io.Writer) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"number": number, "cells": Group.cells, "add": func(a, b int) int { return a + b }, "drawing": draw, "ways": ways, "loads": loads,
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}

// A drawing is a curve in units of its picture, 340 by 180, with room for figures around it.
type drawing struct {
	Points string
	Across []tick // times
	Up     []tick // homes
	Says   string
}

type tick struct {
	At   float64
	Text string
}

const left, top, wide, high = 44.0, 8.0, 286.0, 140.0

func draw(s Spread) drawing {
	if len(s.Curve) == 0 {
		return drawing{}
	}
	last := s.Curve[len(s.Curve)-1]
	all := max(s.Groups[0].Nodes, last.Homes)
	across := round(last.After)
	x := func(ms float64) float64 { return left + wide*ms/across }
	y := func(homes int) float64 { return top + high*(1-float64(homes)/float64(all)) }
	var b strings.Builder
	fmt.Fprintf(&b, "%.1f,%.1f", x(0), y(0))
	before := 0
	for _, p := range s.Curve { // a step: nobody new until the next one is reached
		fmt.Fprintf(&b, " %.1f,%.1f %.1f,%.1f", x(p.After), y(before), x(p.After), y(p.Homes))
		before = p.Homes
	}
	fmt.Fprintf(&b, " %.1f,%.1f", x(across), y(before))
	d := drawing{Points: b.String(), Says: fmt.Sprintf("%d of %d homes after %s ms", last.Homes, all, number(last.After))}
	for i := range 5 {
		d.Across = append(d.Across, tick{x(across * float64(i) / 4), number(across * float64(i) / 4)})
	}
	for _, share := range []int{0, 50, 100} {
		d.Up = append(d.Up, tick{top + high*(1-float64(share)/100), fmt.Sprintf("%d %%", share)})
	}
	return d
}

// round is the next number of the form 1, 2 or 4 times a power of ten.
func round(v float64) float64 {
	for p := 1.0; ; p *= 10 {
		for _, f := range []float64{1, 2, 4} {
			if v <= p*f {
				return p * f
			}
		}
	}
}

// A bar is a share of a whole or of the longest one.
type bar struct {
	Class, Name, Text string
	X, Width          float64 // percent
}

// ways says how nodes were reached.
func ways(g Group) (bars []bar) {
	at := 0.0
	for _, b := range []struct {
		class, name string
		n           int
	}{
		{"pushed", "by gossip within a second", g.Pushed},
		{"later", "by gossip later, sent again or asked for after an announcement", g.Later},
		{"fetched", "by comparing dockets with a peer", g.Fetched},
		{"never", "not reached", g.Nodes - g.Reached},
	} {
		width := 100 * float64(b.n) / float64(max(1, g.Nodes))
		bars = append(bars, bar{b.class, b.name, strconv.Itoa(b.n), at, width})
		at += width
	}
	return bars
}

// loads compares what the groups received and sent for a request.
func loads(s Spread) (bars []bar) {
	most := 0.0
	for _, g := range s.Groups {
		if g.Bytes != nil {
			most = max(most, *g.Bytes)
		}
	}
	for _, g := range s.Groups {
		if g.Bytes != nil && most > 0 {
			bars = append(bars, bar{"pushed", g.Who, fmt.Sprintf("%.1f kB, %s copies", *g.Bytes/1000, number(*g.Copies)), 0, max(0, 100**g.Bytes/most)})
		}
	}
	return bars
}
