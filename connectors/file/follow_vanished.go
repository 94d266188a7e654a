package file

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/bohica-labs/dataweaver/retry"
)

// ErrVanished says that something of a followed file was lost before it was read. See File.Vanished.
var ErrVanished = errors.New("not all of a followed file could be read: run once with File.Vanished set to Warn to go on without the rest")

// vanished tells of something that is lost, with attrs as slog has them: to log, or, with Fail, as the error that is returned.
func (f *File[T]) vanished(log *slog.Logger, what string, attrs ...any) error {
	if f.Vanished == Warn {
		log.Warn(what, attrs...)
		return nil
	}
	var details []string
	for _, a := range slog.Group("", attrs...).Value.Group() {
		details = append(details, fmt.Sprintf("%s: %v", a.Key, a.Value))
	}
	return retry.Fatal(fmt.Errorf("%s (%s): %w", what, strings.Join(details, ", "), ErrVanished))
}
