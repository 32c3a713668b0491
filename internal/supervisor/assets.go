package supervisor

import (
	"slices"
	"time"
)

// minAssetDelay is how long files must be quiet at least before they count.
const minAssetDelay = 10 * time.Millisecond

// assets are changed files that need no build.
type assets struct {
	pending []string  // that do not count yet; an empty one can be any
	at      time.Time // when they may
	changes int       // how often some did
	files   []string  // the last of them, shown; empty if it can be any
}

// apply notes that files changed which need no build. They count when they are
// quiet and no newer version is on its way, which counts for both: files of one
// save need not come in any order.
func (e assetsChanged) apply(d *decision) {
	if d.goal == closing {
		return
	}
	files := e.files
	if files == nil {
		files = []string{""}
	}
	d.assets.pending = append(slices.Clip(d.assets.pending), files...)
	d.assets.at = d.in(max(d.cfg.debounce, minAssetDelay))
}

// publishAssets counts changed assets, or tries again later.
func (d *decision) publishAssets() {
	if d.building.id != 0 || d.coming() {
		d.assets.at = d.in(max(d.cfg.debounce, minAssetDelay))
		return
	}
	d.applyAssets()
}

// applyAssets counts changed assets.
func (d *decision) applyAssets() {
	t := &d.assets
	if len(t.pending) == 0 {
		return
	}
	var files []string
	if !slices.Contains(t.pending, "") {
		for _, file := range t.pending {
			files = append(files, d.show(file))
		}
		slices.Sort(files)
		files = slices.Compact(files)
	}
	*t = assets{changes: t.changes + 1, files: files}
}
