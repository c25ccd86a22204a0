package tests.images.pinned_test

import data.admission.rules.images.pinned
import data.tests.fixtures

with_image(image) := fixtures.changed({"images": array.concat(fixtures.request.images, [image])})

loose := {
	"container": "spec.template.spec.initContainers[fetch]",
	"reference": "registry.example.org/fetch:1.0",
	"name": "registry.example.org/fetch",
	"digest": "",
}

test_passes_when_every_image_is_pinned if {
	pinned.passes with input as fixtures.request with data.placet as fixtures.placet
	count(pinned.report) == 0 with input as fixtures.request with data.placet as fixtures.placet
}

test_passes_when_unchanged if {
	pinned.passes with input as object.union(fixtures.unchanged, {"images": [loose]}) with data.placet as fixtures.placet
}

test_passes_when_the_environment_does_not_ask_for_it if {
	placet := fixtures.with_environment({"pin_images": false})
	pinned.passes with input as with_image(loose) with data.placet as placet
}

test_fails_when_an_image_has_a_tag_alone if {
	not pinned.passes with input as with_image(loose) with data.placet as fixtures.placet
	pinned.report == {{
		"code": "image_not_pinned",
		"container": "spec.template.spec.initContainers[fetch]",
		"reference": "registry.example.org/fetch:1.0",
	}} with input as with_image(loose)
		with data.placet as fixtures.placet
}

test_fails_when_the_reference_does_not_end_with_the_digest if {
	image := object.union(fixtures.image("fetch", "a"), {"reference": "registry.example.org/fetch:1.0"})
	not pinned.passes with input as with_image(image) with data.placet as fixtures.placet
}

test_fails_when_a_digest_is_no_digest if {
	every digest in ["sha256:abc", fixtures.digest("A"), concat("", [fixtures.digest("a"), "a"]), "latest", 7, null] {
		image := {"container": "c", "reference": $"registry.example.org/fetch@{digest}", "name": "n", "digest": digest}
		not pinned.passes with input as with_image(image) with data.placet as fixtures.placet
	}
}

test_fails_when_an_image_says_nothing if {
	not pinned.passes with input as with_image({}) with data.placet as fixtures.placet
	pinned.report == {{"code": "image_not_pinned", "container": "", "reference": ""}} with input as with_image({})
		with data.placet as fixtures.placet
}

test_fails_when_there_are_no_images if {
	request := fixtures.changed({"images": []})
	not pinned.passes with input as request with data.placet as fixtures.placet
	pinned.report == {{"code": "images_missing"}} with input as request with data.placet as fixtures.placet
}

test_fails_when_the_environment_does_not_say if {
	every placet in [fixtures.with_environment({"pin_images": "no"}), object.remove(fixtures.placet, ["environments"])] {
		not pinned.passes with input as fixtures.request with data.placet as placet
	}
}

service(version) := fixtures.changed({
	"images": [],
	"workload": {
		"group": "serving.kserve.io",
		"version": version,
		"kind": "InferenceService",
		"namespace": "ml",
		"name": "llama",
	},
})

test_passes_when_a_custom_resource_leaves_its_image_to_a_runtime if {
	pinned.passes with input as service("v1beta1") with data.placet as fixtures.placet
	count(pinned.report) == 0 with input as service("v1beta1") with data.placet as fixtures.placet
}

test_fails_without_images_in_a_version_that_the_registry_does_not_name if {
	not pinned.passes with input as service("v1") with data.placet as fixtures.placet
	pinned.report == {{"code": "images_missing"}} with input as service("v1") with data.placet as fixtures.placet
}

test_fails_when_a_custom_resource_names_an_image_by_its_tag_alone if {
	request := object.union(service("v1beta1"), {"images": [loose]})
	not pinned.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_the_kind_of_change_is_unknown if {
	pinned.passes with input as fixtures.request with data.placet as fixtures.placet
	not pinned.passes with input as fixtures.changed({"change": {"kind": "other"}}) with data.placet as fixtures.placet
}

test_fails_when_the_kind_of_change_is_unknown_and_nothing_need_be_pinned if {
	placet := fixtures.with_environment({"pin_images": false})
	not pinned.passes with input as fixtures.changed({"change": {"kind": "other"}}) with data.placet as placet
}

test_passes_with_one_image if {
	request := fixtures.changed({"images": [fixtures.image("server", "c")]})
	pinned.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_images_are_no_list if {
	every images in [{"first": fixtures.image("server", "c")}, "", null, 7] {
		request := object.union(object.remove(fixtures.request, ["images"]), {"images": images})
		not pinned.passes with input as request with data.placet as fixtures.placet
	}
}

test_fails_without_images_unless_the_registry_names_just_this_kind if {
	right := {
		"group": "serving.kserve.io",
		"kind": "InferenceService",
		"versions": ["v1beta1"],
		"images_elsewhere": true,
	}
	only(right)
	every fields in [
		{"images_elsewhere": false},
		{"group": "serving.example.org"},
		{"kind": "InferenceGraph"},
		{"versions": ["v1"]},
	] {
		not only(object.union(right, fields))
	}
	not only(object.remove(right, ["images_elsewhere"]))
}

only(kind) if {
	placet := object.union(object.remove(fixtures.placet, ["kinds"]), {"kinds": {"one": kind}})
	pinned.passes with input as service("v1beta1") with data.placet as placet
}
