package agencycmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// A draft is a document that persons sign one after the other, each on a machine of their own.
type draft struct {
	body    consent.Body
	signers []signer                // in the order of their signatures
	open    func(note []byte) error // verifies the complete document
	write   func(w io.Writer) error // says in plain words what is signed
}

type signer struct {
	role docket.Role
	key  consent.VerifierKey
}

// readDraft reads a document, signed or not. It believes no signature: whoever is to sign looks at the content, and the docket
// verifies who did.
func (a *app) readDraft(b []byte) (draft, error) {
	kind, err := consent.Peek(b)
	if err != nil {
		return draft{}, err
	}
	pair := func(officer, supervisor consent.VerifierKey) []signer {
		return []signer{{docket.RoleOfficer, officer}, {docket.RoleSupervisor, supervisor}}
	}
	switch kind {
	case request.Kind:
		r, err := unsigned[request.Request](b)
		return draft{r, pair(r.Officer, r.Supervisor), opens(request.Open), func(w io.Writer) error { return a.writeRequest(w, r) }}, err
	case "report":
		r, err := unsigned[docket.Report](b)
		return draft{r, pair(r.Officer, r.Supervisor), opens(docket.OpenReport), func(w io.Writer) error {
			if err := ui.Facts(w, "report on", string(r.Request), "officer", r.Officer.Name(), "supervisor", r.Supervisor.Name()); err != nil {
				return err
			}
			fmt.Fprintln(w, "text")
			ui.Wrap(w, "  ", r.Text, 90)
			return nil
		}}, err
	case "outcome":
		o, err := unsigned[docket.Outcome](b)
		return draft{o, []signer{{docket.RoleOfficer, o.Officer}}, opens(docket.OpenOutcome), func(w io.Writer) error {
			return ui.Facts(w, "outcome of", string(o.Request), "outcome", o.Outcome.Title(), "officer", o.Officer.Name())
		}}, err
	case "hold":
		h, err := unsigned[docket.Hold](b)
		return draft{h, pair(h.Officer, h.Supervisor), opens(docket.OpenHold), func(w io.Writer) error {
			return ui.Facts(w, "hold of", h.Court, "number", h.Number, "order", h.DocumentSHA256, "covers", ui.Count(len(h.Covers), "release"),
				"renews", h.Renews, "officer", h.Officer.Name(), "supervisor", h.Supervisor.Name())
		}}, err
	case "transfer":
		t, err := unsigned[docket.Transfer](b)
		return draft{t, pair(t.Officer, t.Supervisor), opens(docket.OpenTransfer), func(w io.Writer) error {
			return ui.Facts(w, "transfer of", ui.Count(len(t.Covers), "release"), "to", string(t.To), "ground", string(t.Ground), "order", t.DocumentSHA256,
				"officer", t.Officer.Name(), "supervisor", t.Supervisor.Name())
		}}, err
	}
	return draft{}, fmt.Errorf("a %s, not a request, a report, an outcome, a hold or a transfer", kind)
}

func unsigned[B consent.Body](note []byte) (b B, err error) {
	_, rest, _ := bytes.Cut(note, []byte("\n"))
	body, _, _ := bytes.Cut(rest, []byte("\n"))
	if err := consent.DecodeStrict(body, &b, consent.MaxNote); err != nil {
		return b, err
	}
	return b, b.Check()
}

func opens[B consent.Body](open func([]byte) (B, error)) func([]byte) error {
	return func(note []byte) error {
		_, err := open(note)
		return err
	}
}

// drafted is the answer of commands that draft a document, and of sign.
type drafted struct {
	File   string            `json:"file"`
	Signed []string          `json:"signed"`
	ID     consent.RequestID `json:"request,omitempty"` // of a request that both have signed
	Body   consent.Body      `json:"body"`
}

// writeDraft writes the text of a document for its signers, and says who they are.
func (a *app) writeDraft(out string, text []byte) error {
	d, err := a.readDraft(text)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(out, text, 0o644); err != nil {
		return err
	}
	return a.Show(drafted{File: out, Signed: []string{}, Body: d.body}, func(w io.Writer) error {
		if err := d.write(w); err != nil {
			return err
		}
		fmt.Fprintf(w, "\nwritten to %s\n", out)
		ui.Sentence(w, fmt.Sprintf("next: %s signs it, then %s, each with `porchlight agency request sign %s --key KEYFILE`", d.signers[0].key.Name(), d.signers[1].key.Name(), out))
		return nil
	})
}

func newSignCommand(a *app) *cobra.Command {
	var key string
	var yes bool
	cmd := &cobra.Command{
		Use:   "sign FILE --key KEYFILE",
		Short: "Read a draft and sign it, as its officer or its supervisor",
		Long: `Shows the document in plain words, asks, and adds your signature to the file. The officer signs first. This
needs no node and no network: do it on a machine of your own.

Your name stands under a public document that cannot be withdrawn; a request can only be resolved.`,
		Example: "  porchlight agency request sign request.note --key ruiz.key",
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error {
			return a.signDraft(args[0], key, yes)
		}),
	}
	cmd.Flags().StringVar(&key, "key", "", "your key `file`")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask: you have read it")
	cli.MustFlags(cmd, "key")
	return cmd
}

func (a *app) signDraft(file, keyFile string, yes bool) error {
	note, err := cli.ReadSmall(file, consent.MaxNote)
	if err != nil {
		return err
	}
	d, err := a.readDraft(note)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	k, err := a.ReadKey(keyFile)
	if err != nil {
		return err
	}
	role, err := d.role(k)
	if err != nil {
		return err
	}
	if err := d.write(a.Err); err != nil {
		return err
	}
	if err := a.Confirm(yes, fmt.Sprintf("Sign this as its %s, %s?", role, k.Name())); err != nil {
		return err
	}
	signed, err := d.add(note, k)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := durable.WriteFile(file, signed, 0o644); err != nil {
		return err
	}
	out := drafted{File: file, Signed: []string{}, Body: d.body}
	ids, err := consent.SignerIDs(signed)
	if err != nil {
		return err
	}
	for _, id := range ids {
		out.Signed = append(out.Signed, id.Name)
	}
	next := "next: porchlight agency publish " + file
	if d.body.Kind() == request.Kind {
		next = "next: porchlight agency request publish " + file
	}
	if len(ids) < len(d.signers) {
		next = fmt.Sprintf("next: %s signs it", d.signers[len(ids)].key.Name())
	} else if err := d.open(signed); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	} else if d.body.Kind() == request.Kind {
		out.ID = request.IDOf(signed)
	}
	return a.Show(out, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s signed %s as its %s\n%s\n", k.Name(), file, role, next)
		return err
	})
}

// role is what a key signs a draft as.
func (d draft) role(k consent.Key) (docket.Role, error) {
	for _, s := range d.signers {
		if s.key == k.Verifier() {
			return s.role, nil
		}
	}
	err := fmt.Errorf("%s is not the officer (%s) of this %s", k.Name(), d.signers[0].key.Name(), d.body.Kind())
	if len(d.signers) > 1 {
		err = fmt.Errorf("%s is neither the officer (%s) nor the supervisor (%s) of this %s", k.Name(), d.signers[0].key.Name(), d.signers[1].key.Name(), d.body.Kind())
	}
	return "", node.WithHint(err, "a "+d.body.Kind()+" names its signers; draft it again with other ones")
}

// add signs a draft, or adds the second signature.
func (d draft) add(note []byte, k consent.Key) ([]byte, error) {
	text, err := consent.Text(d.body)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(note, text) {
		if first := d.signers[0]; first.key != k.Verifier() {
			return nil, node.WithHint(fmt.Errorf("the %s has not signed yet", first.role), first.key.Name()+" signs first")
		}
		return consent.Sign(d.body, k)
	}
	if !bytes.HasPrefix(note, append(text, '\n')) {
		return nil, errors.New("the file holds more than a " + d.body.Kind() + " and its signatures")
	}
	return consent.AddSignature(note, k)
}
