# METADATA
# title: What the request does to what ran before
# description: >-
#   An update whose governed content is that of the old object is carried forward: it can bring nothing in that was
#   not admitted already. So is content that the record shows as approved for the same workload: more replicas and an
#   earlier revision as far as the risk level that was approved then, and what a controller makes of it. Everything else
#   is judged anew. A kind that is not known is neither.
package admission.lib.change

import data.admission.lib.risk

carried_forward if {
	input.operation == "UPDATE"
	input.change.kind == "unchanged"
}

carried_forward if {
	input.operation == "UPDATE"
	input.change.kind in {"scaled", "rollback"}
	on_record
	risk.rank[input.risk.level] <= risk.rank[input.precedent.level]
}

carried_forward if {
	input.operation in {"CREATE", "UPDATE"}
	input.change.kind == "child"
	on_record
}

judged_anew if {
	input.operation in {"CREATE", "UPDATE"}
	input.change.kind in {"new", "changed"}
}

# Approved while it runs: an update that changes nothing governed brings the approvals.
judged_anew if {
	input.operation == "UPDATE"
	input.change.kind == "adopted"
}

on_record if {
	is_string(input.precedent.decision_id)
	input.precedent.decision_id != ""
}

# Fewer replicas of the same content: nothing starts.
scaled_down if {
	input.operation == "UPDATE"
	input.change.kind == "unchanged"
	input.change.scale == "down"
}
