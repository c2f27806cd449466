package etcd_test

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// What a node hears of while an answer is on its way makes that answer no sign of an etcd that has gone back.
func TestAnAnswerThatIsOvertaken(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	create(t, c)
	var working sync.WaitGroup
	for i := range 3 {
		e := join(t, c, fmt.Sprintf("n%d", i), time.Now)
		_, revision := loadAt(t, e)
		_, ended, _ := watching(t, e, revision)
		for k := range 8 {
			working.Go(func() {
				for j := range 300 {
					if _, err := e.Commit(t.Context(), put(fmt.Sprintf("%d-%d-%d", i, k, j), "1", 0)); err != nil {
						t.Error(err)
						return
					}
					select {
					case err := <-ended:
						t.Error(err)
						return
					default:
					}
				}
			})
		}
	}
	working.Wait()
}
