# METADATA
# title: What a digest looks like
# description: >-
#   `sha256:` and 64 hexadecimal digits in lower case. Said by trimming, since the embedded engine compiles a regular
#   expression anew for each decision, and that took a third of it.
package admission.lib.digests

well_formed(text) if {
	is_string(text)
	startswith(text, "sha256:")
	count(text) == 71
	trim_left(trim_prefix(text, "sha256:"), "0123456789abcdef") == ""
}
