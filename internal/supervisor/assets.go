package supervisor

import (
	"slices"
	"time"
)

// minAssetDelay is how long files must be quiet at least before they count.
const minAssetDelay = 10 * time.Millisecond

// assetsChanged notes that files changed which need no build, nil for any. They count
// when they are quiet and no newer version is on its way, which counts for both:
// files of one save need not come in any order.
func (p *page) assetsChanged(files []string) {
	if p.closing {
		return
	}
	if files == nil {
		files = []string{""}
	}
	p.changedAssets = append(p.changedAssets, files...)
	p.assetTimer.Reset(max(p.cfg.debounce, minAssetDelay))
}

// publishAssets tells of touched files, or tries again later.
func (p *page) publishAssets() {
	switch {
	case p.building != nil, p.pendingStart() != nil:
		p.assetTimer.Reset(max(p.cfg.debounce, minAssetDelay))
	case p.applyAssets():
		p.publish()
	}
}

// applyAssets has touched files count, and reports whether there were any.
func (p *page) applyAssets() bool {
	if len(p.changedAssets) == 0 {
		return false
	}
	p.assetTimer.Stop()
	p.assetChanges++
	p.assetFiles = nil
	if !slices.Contains(p.changedAssets, "") {
		for _, file := range p.changedAssets {
			p.assetFiles = append(p.assetFiles, p.show(file))
		}
		slices.Sort(p.assetFiles)
		p.assetFiles = slices.Compact(p.assetFiles)
	}
	p.changedAssets = nil
	return true
}
