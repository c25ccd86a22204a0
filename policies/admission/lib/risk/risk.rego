# METADATA
# title: The risk score, computed again
# description: >-
#   Integers only. The score is defined only when each factor has one of its allowed scores and no factor is missing or
#   unknown, and the level only when the score is.
package admission.lib.risk

points[factor] := value * weight if {
	some factor, weight in data.placet.risk.weights
	value := input.risk.factors[factor]
	value in data.placet.risk.scores[factor]
}

factors := {factor | some factor, _ in data.placet.risk.weights}

given := {factor | some factor, _ in input.risk.factors}

score := sum([value | some value in points]) if {
	count(factors) == 6
	given == factors
	count(points) == 6
}

level := "low" if {
	score <= data.placet.risk.ceilings.low
} else := "medium" if {
	score <= data.placet.risk.ceilings.medium
} else := "high" if {
	score <= data.placet.risk.ceilings.high
} else := "critical" if {
	score > data.placet.risk.ceilings.high
}

positions[name] contains position if some position, name in data.placet.levels

# The place of a level in the list of levels, lowest first; a level that is listed twice has none.
rank[name] := position if {
	some name, found in positions
	count(found) == 1
	some position in found
}
