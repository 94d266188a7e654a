// Package retry says which errors are worth another try, how long to wait before it, and when to give up.
//
// An error carries a [Class]. The one that knows what went wrong marks it, with [Transient], [After], [Permanent] or [Fatal], or by a method
// RetryClass; everybody above only asks [ClassOf]. Marks do not change what an error says and errors.Is and errors.As see through them, so an error can
// be marked at any depth and wrapped as usual.
//
// A [Policy] is plain configuration: its zero value is a sound exponential backoff with full jitter. [Policy.Do] and [DoValue] repeat a call under it.
// Whoever has a loop of his own takes a [Backoff] from [Policy.NewBackoff] and asks it after each failure how long to wait.
//
// Nothing here costs anything while all goes well: before the first failure no clock is read, no timer made and nothing allocated.
package retry
