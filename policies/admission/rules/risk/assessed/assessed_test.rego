package tests.risk.assessed_test

import data.admission.rules.risk.assessed
import data.tests.fixtures

test_passes_when_score_and_level_are_those_of_the_factors if {
	assessed.passes with input as fixtures.request with data.placet as fixtures.placet
	count(assessed.report) == 0 with input as fixtures.request with data.placet as fixtures.placet
}

test_passes_at_each_level if {
	every case in [
		{"scores": [2, 2, 2, 3, 2, 2], "score": 220, "level": "low"},
		{"scores": [2, 2, 2, 6, 2, 4], "score": 300, "level": "low"},
		{"scores": [8, 2, 6, 6, 4, 4], "score": 500, "level": "medium"},
		{"scores": [8, 4, 8, 9, 8, 6], "score": 700, "level": "high"},
		{"scores": [8, 9, 8, 9, 2, 2], "score": 725, "level": "critical"},
		{"scores": [8, 9, 8, 9, 8, 9], "score": 855, "level": "critical"},
	] {
		request := fixtures.changed({"risk": risk_of(case)})
		assessed.passes with input as request with data.placet as fixtures.placet
	}
}

risk_of(case) := {
	"score": case.score,
	"level": case.level,
	"factors": {
		"model_complexity": case.scores[0],
		"data_sensitivity": case.scores[1],
		"deployment_scope": case.scores[2],
		"change_magnitude": case.scores[3],
		"testing_coverage": case.scores[4],
		"rollback_capability": case.scores[5],
	},
}

test_fails_when_the_score_is_another if {
	request := fixtures.changed({"risk": {"score": 664}})
	not assessed.passes with input as request with data.placet as fixtures.placet
	assessed.report == {{"code": "score_differs", "computed": 665}} with input as request with data.placet as fixtures.placet
}

test_fails_when_the_level_is_another if {
	request := fixtures.changed({"risk": {"level": "medium"}})
	not assessed.passes with input as request with data.placet as fixtures.placet
	assessed.report == {{"code": "level_differs", "computed": "high"}} with input as request with data.placet as fixtures.placet
}

test_fails_when_a_factor_has_a_score_that_it_can_not_have if {
	request := fixtures.changed({"risk": {"factors": {"data_sensitivity": 8}}})
	not assessed.passes with input as request with data.placet as fixtures.placet
	assessed.report == {{"code": "factor_invalid", "factor": "data_sensitivity"}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_there_is_a_seventh_factor if {
	request := fixtures.changed({"risk": {"factors": {"luck": 2}}})
	not assessed.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_a_factor_is_missing if {
	risk := fixtures.request.risk
	factors := object.remove(risk.factors, ["testing_coverage"])
	request := object.union(object.remove(fixtures.request, ["risk"]), {"risk": object.union(
		object.remove(risk, ["factors"]),
		{"factors": factors},
	)})
	not assessed.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_the_table_is_missing if {
	not assessed.passes with input as fixtures.request with data.placet as object.remove(fixtures.placet, ["risk"])
}
