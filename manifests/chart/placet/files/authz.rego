# METADATA
# title: Who may do what at the API of placet's OPA
# description: >-
#   The gate's bearer token may ask for a decision, and read, give and take away policies and data, each at the paths
#   that the gate uses and nowhere else. Health is open, since probes carry no token. Everything else is refused, the
#   queries and compilations of others included: they could read the token from OPA's environment.
# custom:
#   run: >-
#     PLACET_OPA_TOKEN=... opa run --server --addr 127.0.0.1:8181 --diagnostic-addr 0.0.0.0:8282
#     --authentication=token --authorization=basic authz.rego
package system.authz

default allow := false

# A short token is none: with an empty one anybody would be the gate.
shortest_token := 32

allow if {
	input.method in {"GET", "HEAD"}
	input.path == ["health"]
}

allow if {
	from_the_gate
	input.method == "POST"
	input.path == ["v1", "data", "admission", "main", "decision"]
}

allow if {
	from_the_gate
	input.method == "GET"
	input.path in {
		["v1", "policies"],
		["v1", "data", "placet"],
		["v1", "data", "admission", "main", "judged"],
	}
}

allow if {
	from_the_gate
	input.method == "PUT"
	input.path == ["v1", "data", "placet"]
}

allow if {
	from_the_gate
	input.method == "DELETE"
	input.path == ["v1", "data", "admission"]
}

# The gate puts its own policies, and takes away what stands in their place whatever its name; never this one.
allow if {
	from_the_gate
	input.method == "PUT"
	array.slice(input.path, 0, 4) == ["v1", "policies", "placet", "admission"]
}

allow if {
	from_the_gate
	input.method == "DELETE"
	array.slice(input.path, 0, 2) == ["v1", "policies"]
	count(input.path) > 2
	not names_authz
}

names_authz if endswith(input.path[count(input.path) - 1], "authz.rego")

# Digests are compared and not the tokens, so that the time it takes tells nothing about how much of one was right.
from_the_gate if {
	token := opa.runtime().env.PLACET_OPA_TOKEN
	count(token) >= shortest_token
	crypto.sha256(input.identity) == crypto.sha256(token)
}
