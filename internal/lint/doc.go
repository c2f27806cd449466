// Package lint has no code of its own. Its tests read the sources of the whole module and fail when they break a
// rule of the architecture: which package may import which, where time and global state come in, how large a
// function may grow. Each ban has a reason, which is part of the failure; each exception is listed with one.
package lint
