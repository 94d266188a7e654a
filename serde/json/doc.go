// Package json is the serde codec for JSON, by default with encoding/json. A faster library is plugged in by its two functions:
//
//	json.Codec[Order]{Marshal: sonic.Marshal, Unmarshal: sonic.Unmarshal}
package json
