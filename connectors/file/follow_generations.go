package file

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// generation is a file that is, or was, at a followed path.
type generation struct {
	path    string
	id      identity
	size    int64
	time    int64 // when it was last modified, in nanoseconds since 1970
	current bool  // it is at the path itself
}

func (f *File[T]) generationAt(path string, info fs.FileInfo, handle any) generation {
	return generation{path: path, id: f.identify(info, path, handle), size: info.Size(), time: info.ModTime().UnixNano()}
}

// same reports whether two looks at a path saw one file. What only grew is the same.
func (g generation) same(o generation) bool {
	if g.path != o.path || g.current != o.current || g.id.differs(o.id) {
		return false
	}
	return g.current || g.id.known() || g.size == o.size && g.time == o.time
}

// lineage is where the generations of a path are.
type lineage struct {
	path, folder string
	pattern      string // of names in folder; empty: the path's name with a rotationSuffix
}

// lineageOf returns where the generations of path are, as Rotated says.
func (f *File[T]) lineageOf(path string) lineage {
	l := lineage{path: path, folder: filepath.Dir(path)}
	if f.Rotated == "" {
		return l
	}
	name := filepath.Base(path)
	ext := filepath.Ext(name)
	r := strings.NewReplacer("{name}", literal(name), "{stem}", literal(strings.TrimSuffix(name, ext)), "{ext}", literal(ext))
	l.pattern = r.Replace(filepath.Base(f.Rotated))
	if folder := filepath.Dir(f.Rotated); filepath.IsAbs(folder) {
		l.folder = folder
	} else {
		l.folder = filepath.Join(l.folder, folder)
	}
	return l
}

// literal returns a pattern that matches s alone.
func literal(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// has reports whether the file called name in the folder is an older generation.
func (l lineage) has(name string) bool {
	if l.pattern != "" {
		ok, _ := path.Match(l.pattern, name)
		return ok && filepath.Join(l.folder, name) != filepath.Clean(l.path)
	}
	rest, ok := strings.CutPrefix(name, filepath.Base(l.path))
	return ok && isRotationSuffix(rest)
}

// isRotationSuffix reports whether s is what is put behind a file's name to rotate it: numbers, dates, times, "old" and the like, and what compression adds.
func isRotationSuffix(s string) bool {
	if s == "" || !strings.ContainsRune(".-_~", rune(s[0])) {
		return false
	}
	some := s == "~"
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(".-_~:+@TZ", r) }) {
		switch part {
		case "old", "bak", "prev", "backup", "gz", "zst", "bz2", "xz", "lz4", "Z":
		default:
			if strings.Trim(part, "0123456789") != "" {
				return false
			}
		}
		some = true
	}
	return some
}

var packedExtensions = []string{".gz", ".zst", ".bz2", ".xz", ".lz4"}

// unpackedName returns name without what compression adds to it.
func unpackedName(name string) string {
	for _, ext := range packedExtensions {
		if rest, ok := strings.CutSuffix(name, ext); ok {
			return rest
		}
	}
	return name
}

// errUnsettled says that files were renamed while they were looked at: look again.
var errUnsettled = errors.New("files are being rotated right now")

// generations returns all there are of a path, the oldest first, the current one last. It looks until it sees the same twice: in the middle of a rotation,
// a file that moves may be missed, or seen twice. Should that not come to an end, it returns errUnsettled.
func (f *File[T]) generations(l lineage) ([]generation, error) {
	before, err := f.scan(l)
	for range 50 {
		if err != nil {
			return nil, err
		}
		var now []generation
		if now, err = f.scan(l); err == nil && slices.EqualFunc(before, now, generation.same) {
			l.order(now)
			return distinct(now), nil
		}
		before = now
	}
	return nil, errUnsettled
}

// distinct drops other names of one file, of generations in order. Where the path is a link to a file that has the name of an older one, this one is what is at the path, and
// what is younger is nothing yet: a writer begins a file before it makes the link point to it.
func distinct(all []generation) []generation {
	if n := len(all) - 1; n > 0 && all[n].current && all[n].id.known() {
		if i := slices.IndexFunc(all[:n], func(g generation) bool { return g.id == all[n].id }); i >= 0 {
			all = append(all[:i], all[n])
		}
	}
	return slices.CompactFunc(all, func(a, b generation) bool { return a.id.known() && a.id == b.id })
}

// scan looks at each generation once.
func (f *File[T]) scan(l lineage) ([]generation, error) {
	entries, err := f.fsys.ReadDir(l.folder)
	if err != nil && !gone(err) {
		return nil, err
	}
	var all []generation
	names := make(map[string]bool)
	for _, e := range entries {
		if l.has(e.Name()) {
			names[e.Name()] = true
		}
	}
	take := func(path string, current bool) error {
		info, err := f.fsys.Stat(path)
		switch {
		case gone(err):
			return nil
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return nil
		}
		g := f.generationAt(path, info, nil)
		g.current = current
		all = append(all, g)
		return nil
	}
	for _, e := range entries {
		// What is being compressed is there twice, and whole only under its old name.
		if name := e.Name(); !names[name] || unpackedName(name) != name && names[unpackedName(name)] {
			continue
		}
		if err := take(filepath.Join(l.folder, e.Name()), false); err != nil {
			return nil, err
		}
	}
	return all, take(l.path, true)
}

// order sorts generations by age. Where they are numbered, the numbers tell it, in the direction that most times of modification agree with; without a majority,
// high numbers are old ones. Otherwise those times do, and where they are the same, the names.
func (l lineage) order(all []generation) {
	rank := func(a, b generation) int {
		if a.current != b.current {
			if a.current {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.time, b.time), strings.Compare(a.path, b.path))
	}
	numbers := make(map[string]int, len(all))
	for _, g := range all {
		if g.current {
			continue
		}
		rest := unpackedName(filepath.Base(g.path))
		n, err := strconv.Atoi(rest[strings.LastIndexAny(rest, ".-_")+1:])
		if rest, ok := strings.CutPrefix(rest, filepath.Base(l.path)); err != nil || n > 99_999 || !ok || len(rest) < 2 || strings.Trim(rest[1:], "0123456789") != "" {
			slices.SortFunc(all, rank)
			return
		}
		numbers[g.path] = n
	}
	slices.SortFunc(all, func(a, b generation) int {
		if a.current || b.current {
			return rank(a, b)
		}
		return cmp.Compare(numbers[b.path], numbers[a.path])
	})
	votes := 0
	for i := 1; i < len(numbers); i++ {
		votes += cmp.Compare(all[i].time, all[i-1].time)
	}
	if votes < 0 {
		slices.Reverse(all[:len(numbers)])
	}
}
