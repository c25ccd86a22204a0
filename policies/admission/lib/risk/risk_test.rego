package tests.risk_test

import data.admission.lib.risk
import data.tests.fixtures

test_there_is_no_score_of_seven_factors_of_which_six_count if {
	placet := object.union(fixtures.placet, {"risk": {"weights": {"luck": 1}, "scores": {"luck": [1]}}})
	request := fixtures.changed({"risk": {"factors": {"luck": 2}}})
	count(risk.points) == 6 with input as request with data.placet as placet
	not risk.score with input as request with data.placet as placet
}
