# METADATA
# title: Evidence that counts
# description: >-
#   Statements were verified before: who signed them, what they may attest, their subject and their age. Here a newer one
#   replaces an older one of the same kind about the same subject by the same attester, and, for scans and assessments,
#   by the same scanner or to the same framework. Everything else counts side by side, so of what contradicts itself the
#   worst counts. One malformed statement leaves all evidence unsound.
package admission.lib.evidence

import data.admission.lib.digests

sound if {
	is_array(input.evidence)
	is_number(input.time_s)
	every statement in input.evidence {
		well_formed(statement)
	}
}

well_formed(statement) if {
	is_string(statement.kind)
	statement.about in {"image", "model", "projection"}
	is_array(statement.subjects)
	every subject in statement.subjects {
		is_string(subject)
	}
	is_string(statement.attester)
	is_number(statement.issued_s)
	lasting(statement)
	is_object(statement.claims)
}

lasting(statement) if statement.expires_s == 0

lasting(statement) if {
	is_number(statement.expires_s)
	statement.expires_s > input.time_s
}

of_model(kind) := current("model", kind, input.model.digest)

of_projection(kind) := current("projection", kind, input.projection) if is_string(input.projection)

of_image(kind, image) := current("image", kind, object.get(image, "digest", ""))

# Statements of a kind about a subject, less those that were replaced; two of the same second both count.
current(about, kind, subject) := {statement |
	sound
	subject != ""
	some statement in input.evidence
	statement.kind == kind
	statement.about == about
	subject in statement.subjects
	not replaced(about, kind, subject, statement)
}

replaced(about, kind, subject, statement) if {
	some newer in input.evidence
	newer.kind == kind
	newer.about == about
	subject in newer.subjects
	newer.issued_s > statement.issued_s
	series(newer) == series(statement)
}

series(statement) := [statement.attester, scanner, framework] if {
	scanner := object.get(statement.claims, "scanner", "")
	framework := object.get(statement.claims, "framework", "")
}

recent(statements, age_s) := {statement |
	some statement in statements
	input.time_s - statement.issued_s <= age_s
}

# Why there may be none: codes of what was offered of the kind and was not accepted.
rejected(kind) := sort({offered.code |
	some offered in input.evidence_rejected
	offered.kind == kind
})

is_digest(text) if digests.well_formed(text)

is_names(list) if {
	is_array(list)
	every name in list {
		is_string(name)
	}
}
