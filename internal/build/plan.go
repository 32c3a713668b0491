package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A plan is how the go command made a page's binary: the commands of the compiler
// and the linker. Only these have to run again when nothing has changed but what
// follows the imports in files of the page itself. Running them directly saves the
// time that the go command needs to find that out, up to a third of a build.
//
// The go command prints the commands (go help build, -x). A plan is kept only if
// running it gave the same bytes, and is used only for the same files, settings
// and tools. In every other case, and if anything fails, the go command builds.
type plan struct {
	Inputs    inputs
	Content   map[string]string // hashes of the inputs, by path
	Heads     map[string]string // hashes of the page's own files up to the end of their imports
	Settings  string
	Toolchain string
	Commands  commands
}

// commands are what the go command ran. All texts may contain the name of its
// work folder, Work.
type commands struct {
	Work, Dir     string            // Dir is the working directory
	Configs       map[string]string // files for compiler and linker, by name below Work
	Compile, Link command
}

// command is a program with its arguments, and additions to the environment.
type command struct{ Env, Args []string }

// matches reports whether running the plan makes a binary from what is on disk
// now.
func (p *plan) matches(r *snapshotCache, flavour, tools string) bool {
	if p == nil || p.Settings != flavour || p.Toolchain != tools {
		return false
	}
	now := r.snapshot(p.Inputs)
	if len(now) != len(p.Content) {
		return false
	}
	for path, before := range p.Content {
		after, there := now[path]
		switch {
		case !there:
			return false
		case after.content == before:
		case p.Heads[path] == "", p.Heads[path] != headHash(path):
			return false
		}
	}
	return true
}

// headHash returns a hash of a Go file up to the end of its imports; empty if they
// cannot be parsed.
func headHash(path string) string {
	c, err := clausesOf(path)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(c.head))
	return hex.EncodeToString(sum[:])
}

// runCommands makes a binary with the commands of a plan.
func (b *Builder) runCommands(ctx context.Context, c *commands, env environment, out string) error {
	work, err := os.MkdirTemp(b.dir, "work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	here := strings.NewReplacer(c.Work, work).Replace
	for name, text := range c.Configs {
		file := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(here(text)), 0o600); err != nil {
			return err
		}
	}
	link := c.Link
	link.Args = slices.Clone(link.Args)
	link.Args[slices.Index(link.Args, "-o")+1] = out
	for _, step := range []command{c.Compile, link} {
		cmd := exec.CommandContext(ctx, step.Args[0])
		for _, a := range step.Args[1:] {
			cmd.Args = append(cmd.Args, here(a))
		}
		cmd.Dir = c.Dir
		cmd.Env = slices.Concat(env.environ(), []string{"PWD=" + c.Dir, "TMPDIR=" + work}, step.Env)
		if err := b.runGroup(cmd); err != nil {
			return err
		}
	}
	return nil
}

// verifyPlan records a plan from the commands of a build, if running them gives
// the same binary.
func (b *Builder) verifyPlan(ctx context.Context, a *attempt) error {
	p := &plan{Inputs: a.inputs, Content: make(map[string]string), Heads: make(map[string]string), Settings: a.settings, Toolchain: a.toolchain, Commands: *a.commands}
	for path, stamp := range a.after {
		p.Content[path] = stamp.content
		if filepath.Dir(path) == a.dir && filepath.Ext(path) == ".go" {
			p.Heads[path] = headHash(path)
		}
	}
	out := b.tempName(a.binary)
	defer os.Remove(out)
	if b.runCommands(ctx, &p.Commands, a.env, out) != nil {
		return ctx.Err()
	}
	planned, err := digest(out)
	if err != nil {
		return nil
	}
	if built, err := digest(filepath.Join(b.dir, a.binary)); err != nil || built != planned {
		return nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return b.writeWhole(b.planFile(a.page.id), text)
}

func (b *Builder) planFile(id string) string { return filepath.Join(b.dir, id+".plan.json") }

// readPlan returns the newest plan of a page, or nil. Plans are not kept in
// memory: one is as large as everything else that is known of a page.
func (b *Builder) readPlan(id string) *plan {
	text, err := os.ReadFile(b.planFile(id))
	if err != nil {
		return nil
	}
	p := new(plan)
	if json.Unmarshal(text, p) != nil || p.Commands.Dir == "" || len(p.Commands.Compile.Args) == 0 || !slices.Contains(p.Commands.Link.Args, "-o") {
		return nil
	}
	return p
}

var errNotUnderstood = errors.New("not understood")

// transcript is what go build -x -json prints when it runs in dir.
type transcript struct {
	dir    string
	work   string
	at     string              // where the last command ran, of any package: only changes are printed
	ran    map[string][]string // by package
	cached map[string]string   // copies in the cache, by file of the work folder
}

func newTranscript(dir string) *transcript {
	return &transcript{dir: dir, ran: make(map[string][]string), cached: make(map[string]string)}
}

// add appends what was printed for a package.
func (p *transcript) add(pkg, output string) {
	if work, ok := strings.CutPrefix(output, "WORK="); ok {
		p.work = strings.TrimSpace(work)
	}
	p.ran[pkg] = append(p.ran[pkg], "cd "+p.at+"\n", output)
	for line := range strings.Lines(output) {
		if at, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "cd "); ok {
			p.at = at
		}
	}
	if copied, ok := strings.CutPrefix(output, "cp "); ok {
		if files, err := p.split(copied); err == nil && len(files) > 1 {
			p.cached[files[0]] = files[1]
		}
	}
}

func (p *transcript) split(line string) ([]string, error) {
	return splitCommand(strings.ReplaceAll(strings.TrimSpace(line), "$WORK", p.work))
}

// parseCommands returns the commands that go build -x -json printed for one page
// in dir; nil if they are not understood.
func parseCommands(printed []byte, dir string) *commands {
	p, page := newTranscript(dir), ""
	for line := range bytes.Lines(printed) {
		var event struct{ ImportPath, Action, Output string }
		if json.Unmarshal(line, &event) != nil || event.Action != "build-output" {
			return nil
		}
		p.add(event.ImportPath, event.Output)
		if strings.Contains(event.Output, "importcfg.link <<") {
			page = event.ImportPath
		}
	}
	return p.commands(page)
}

// commands returns the commands of a page. It returns nil unless the page's own
// package has nothing but Go, and embeds nothing.
func (p *transcript) commands(page string) *commands {
	c := &commands{Work: p.work, Dir: p.dir, Configs: make(map[string]string)}
	if p.work == "" || page == "" || c.parse(p.ran[page], p.dir) != nil || len(c.Compile.Args) == 0 || len(c.Link.Args) == 0 {
		return nil
	}
	own := c.Link.Args[len(c.Link.Args)-1]
	for name, config := range c.Configs { // of other packages only the copies in the cache remain
		var text strings.Builder
		for line := range strings.Lines(config) {
			before, file, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			if kept := p.cached[file]; kept != "" && file != own {
				line = before + "=" + kept + "\n"
			}
			if strings.Contains(line, p.work) && file != own {
				return nil
			}
			text.WriteString(line)
		}
		c.Configs[name] = text.String()
	}
	return c
}

// parse parses the commands of the page's own package.
func (c *commands) parse(printed []string, dir string) error {
	var at string
	for _, text := range printed {
		if after, ok := strings.CutPrefix(text, "cat >"+c.Work+string(filepath.Separator)); ok {
			name, config, _ := strings.Cut(after, " << 'EOF'")
			_, config, _ = strings.Cut(config, "\n")
			config, ok = strings.CutSuffix(config, "EOF\n")
			if !ok {
				return errNotUnderstood
			}
			c.Configs[name] = config
			continue
		}
		for line := range strings.Lines(text) {
			if dir, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "cd "); ok {
				at = dir // not quoted, unlike all that follows
				continue
			}
			args, err := splitCommand(strings.ReplaceAll(strings.TrimSpace(line), "$WORK", c.Work))
			if err != nil || len(args) == 0 {
				return errNotUnderstood
			}
			var env []string
			if strings.HasPrefix(args[0], "GOROOT=") {
				env, args = args[:1], args[1:]
			}
			switch name := strings.TrimSuffix(filepath.Base(args[0]), ".exe"); {
			case name == "mkdir", name == "cp", name == "mv", name == "rm", strings.HasPrefix(line, "go tool buildid -w "):
			case name == "compile" && len(c.Compile.Args) == 0 && at == dir && isOnlyGo(args):
				c.Compile = command{env, args}
			case name == "link" && len(c.Link.Args) == 0 && slices.Contains(args, "-o"):
				c.Link = command{env, args}
			default:
				return errNotUnderstood
			}
		}
	}
	return nil
}

// compilerFlags are those for a package with nothing but Go, and whether the next
// argument is their value. Others come with assembly, cgo, embedded files, profiles
// and instrumentation.
var compilerFlags = map[string]bool{
	"-o": true, "-trimpath": true, "-p": true, "-lang": false, "-complete": false, "-buildid": true, "-goversion": true,
	"-c": false, "-nolocalimports": false, "-importcfg": true, "-pack": false,
}

// isOnlyGo reports whether args compile a package with nothing but Go.
func isOnlyGo(args []string) bool {
	for i := 1; i < len(args); i++ {
		flag, _, assigned := strings.Cut(args[i], "=")
		if !strings.HasPrefix(flag, "-") {
			continue // a file
		}
		valued, known := compilerFlags[flag]
		if !known {
			return false
		}
		if valued && !assigned {
			i++ // whatever it begins with: one build ID in 64 begins with a dash
		}
	}
	return true
}

// splitCommand splits a line as the go command joins it: words that are not plain
// are in double quotes as in Go, values of variables in single quotes.
func splitCommand(line string) (all []string, err error) {
	for line != "" {
		var word string
		switch {
		case line[0] == '"':
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, err
			}
			if word, err = strconv.Unquote(quoted); err != nil {
				return nil, err
			}
			line = line[len(quoted):]
		default:
			word, line, _ = strings.Cut(line, " ")
			line = " " + line
			if name, value, ok := strings.Cut(word, "='"); ok {
				value, ok = strings.CutSuffix(value, "'")
				if !ok || strings.ContainsAny(value, `'\`) {
					return nil, errNotUnderstood
				}
				word = name + "=" + value
			}
		}
		all = append(all, word)
		line = strings.TrimLeft(line, " ")
	}
	return all, nil
}

// Optimize prepares faster builds of a page, and checks which toolchain builds it:
// if it is another than assumed, the newest build is stale. It works only while no
// page is built, and starts again if one was.
func (b *Builder) Optimize(ctx context.Context, dir string) (stale bool, err error) {
	for {
		b.mu.Lock()
		p := b.pages[dir]
		var a *attempt
		if p != nil {
			a = p.attempt
		}
		b.mu.Unlock()
		if a == nil {
			return false, nil
		}
		idle, release, err := b.queue.awaitIdle(ctx)
		if err != nil {
			return false, err
		}
		stale = b.toolchainChanged(idle, a.env, a.toolchain, dir)
		if !stale && a.commands != nil {
			err = b.verifyPlan(idle, a)
		}
		disturbed := idle.Err() != nil
		release()
		if disturbed && ctx.Err() == nil {
			continue
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if p.attempt != a {
			return false, err
		}
		p.attempt = nil
		return stale, err
	}
}
