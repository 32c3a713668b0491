package watch

import "syscall"

// remotes are the file systems whose files another machine or process may change
// without inotify reporting it (inotify(7), "Limitations and caveats"), by their
// magic numbers (statfs(2)).
var remotes = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB",
	0x01021997: "9p",
	0x65735546: "FUSE",
	0x5346414f: "AFS",
	0x00c36400: "Ceph",
	0x786f4256: "a VirtualBox share",
}

// remote returns the name of a folder's file system if that is one of remotes, or
// nothing.
func remote(dir string) string {
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) != nil {
		return ""
	}
	return remotes[uint32(fs.Type)]
}
