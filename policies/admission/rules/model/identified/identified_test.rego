package tests.model.identified_test

import data.admission.rules.model.identified
import data.tests.fixtures

test_passes_when_name_version_and_digest_are_known if {
	identified.passes with input as fixtures.request with data.placet as fixtures.placet
	count(identified.report) == 0 with input as fixtures.request with data.placet as fixtures.placet
}

test_passes_without_a_digest_when_the_model_is_not_bound if {
	request := fixtures.changed({"model": {"digest": ""}})
	identified.passes with input as request with data.placet as fixtures.with_environment({"bindings": ["projection"]})
}

test_passes_when_unchanged if {
	request := object.union(fixtures.unchanged, {"model": {"name": "", "version": "", "digest": ""}})
	identified.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_a_field_is_empty_and_names_it if {
	every field in ["name", "version", "digest"] {
		request := fixtures.changed({"model": {field: ""}})
		not identified.passes with input as request with data.placet as fixtures.placet
		identified.report == {{"code": "model_unknown", "field": field}} with input as request
			with data.placet as fixtures.placet
	}
}

test_fails_when_the_digest_is_no_digest if {
	every digest in ["sha256:abc", fixtures.digest("Z"), "v1", 7] {
		not identified.passes with input as fixtures.changed({"model": {"digest": digest}})
			with data.placet as fixtures.placet
	}
}

test_fails_when_the_environment_does_not_say_what_is_bound if {
	every placet in [fixtures.with_environment({"bindings": []}), object.remove(fixtures.placet, ["environments"])] {
		not identified.passes with input as fixtures.request with data.placet as placet
	}
}

test_fails_when_the_kind_of_change_is_unknown if {
	identified.passes with input as fixtures.request with data.placet as fixtures.placet
	not identified.passes with input as fixtures.changed({"change": {"kind": "other"}}) with data.placet as fixtures.placet
}

test_fails_when_a_field_is_no_text if {
	every field in ["name", "version"] {
		every value in [7, true, null, ["llama"]] {
			request := fixtures.changed({"model": {field: value}})
			not identified.passes with input as request with data.placet as fixtures.placet
		}
	}
}
