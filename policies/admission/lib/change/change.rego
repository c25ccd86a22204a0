# METADATA
# title: What the request does to what ran before
# description: >-
#   An update whose governed content is that of the old object is carried forward: it can bring nothing in that was
#   not admitted already. Everything else is judged anew. A kind that is not known is neither.
package admission.lib.change

carried_forward if {
	input.operation == "UPDATE"
	input.change.kind == "unchanged"
}

judged_anew if {
	input.operation in {"CREATE", "UPDATE"}
	input.change.kind in {"new", "changed"}
}
