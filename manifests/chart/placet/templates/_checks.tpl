{{- /* What a schema can't see: values that contradict each other, and those that only the user can give. */ -}}
{{- define "placet.checks" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- if $v.config.existingConfigMap -}}
{{- range $name, $given := dict "cluster" $v.cluster "keyring.envelope" $v.keyring.envelope "keyring.existingConfigMap" $v.keyring.existingConfigMap "keyring.roots" $v.keyring.roots "policy.data" $v.policy.data "revocations" $v.revocations "exemptions" $v.exemptions "record.origin" $v.record.origin "server.clientCa.pem" $v.server.clientCa.pem "server.clientCa.existingConfigMap" $v.server.clientCa.existingConfigMap "server.clientNames" $v.server.clientNames "server.clientSans" $v.server.clientSans "opa.url" $v.opa.url "policy.bundle.url" $v.policy.bundle.url "policy.bundle.rollbackTo" $v.policy.bundle.rollbackTo "policy.shadow.url" $v.policy.shadow.url "policy.shadow.data" $v.policy.shadow.data -}}
{{- if $given -}}
{{- $problems = append $problems (printf "%s has no effect with config.existingConfigMap: say it in that ConfigMap, or drop one of the two" $name) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- if not $v.cluster -}}
{{- $problems = append $problems "cluster is empty: approvals name a cluster, so the gate has to know its own" -}}
{{- end -}}
{{- if and (not $v.keyring.envelope) (not $v.keyring.existingConfigMap) -}}
{{- $problems = append $problems "there is no keyring, so nobody could approve anything: --set-file keyring.envelope=gate/keyring.dsse.json, or name a ConfigMap in keyring.existingConfigMap" -}}
{{- end -}}
{{- if and $v.keyring.envelope $v.keyring.existingConfigMap -}}
{{- $problems = append $problems "keyring.envelope and keyring.existingConfigMap are both given: choose one" -}}
{{- end -}}
{{- if not $v.keyring.roots -}}
{{- $problems = append $problems "keyring.roots is empty: a keyring counts only with the signatures of roots that are pinned here" -}}
{{- else if gt (int $v.keyring.threshold) (len $v.keyring.roots) -}}
{{- $problems = append $problems (printf "keyring.threshold is %d, and there are %d roots" (int $v.keyring.threshold) (len $v.keyring.roots)) -}}
{{- end -}}
{{- $ca := or $v.server.clientCa.pem $v.server.clientCa.existingConfigMap -}}
{{- $named := concat $v.server.clientNames $v.server.clientSans -}}
{{- if and $ca (not $named) -}}
{{- $problems = append $problems "server.clientCa without server.clientNames or server.clientSans: an authority signs for many; name the API server's certificates" -}}
{{- end -}}
{{- if and $named (not $ca) -}}
{{- $problems = append $problems "server.clientNames or server.clientSans without server.clientCa: names are checked in certificates of that authority" -}}
{{- end -}}
{{- end -}}
{{- $default := dig "namespaces" "default_environment" "production" (fromYaml (default "" $v.policy.data)) -}}
{{- if and (not $v.config.existingConfigMap) (eq $v.environments "lookup") (ne $default $v.webhook.defaultEnvironment) -}}
{{- $problems = append $problems (printf "webhook.defaultEnvironment is %s, and the policy data says %s (namespaces.default_environment): workloads of namespaces without a label would all be refused" $v.webhook.defaultEnvironment $default) -}}
{{- end -}}
{{- if and (eq $v.lookups.cache "informer") (ne $v.parents "lookup") -}}
{{- $problems = append $problems "lookups.cache is informer without parents: lookup: nothing is looked up that could be remembered" -}}
{{- end -}}
{{- if and $v.record.export.enabled $v.record.export.kubeconfigSecret (not $v.record.export.namespace) -}}
{{- $problems = append $problems "record.export.kubeconfigSecret names another cluster, and record.export.namespace is empty: say which namespace of that cluster" -}}
{{- end -}}
{{- if and (not $v.record.logKey.existingSecret) (not $v.record.logKey.pem) -}}
{{- $problems = append $problems (printf "there is no key for the record's checkpoints: kubectl -n %s create secret generic placet-log-key --from-file=log.key=gate/keys/log.key, and record.logKey.existingSecret=placet-log-key" .Release.Namespace) -}}
{{- end -}}
{{- if and $v.record.logKey.existingSecret $v.record.logKey.pem -}}
{{- $problems = append $problems "record.logKey.existingSecret and record.logKey.pem are both given: choose one" -}}
{{- end -}}
{{- $file := include "placet.hasRecordFile" . -}}
{{- if $v.record.archive.enabled -}}
{{- if not $v.record.archive.url -}}
{{- $problems = append $problems "record.archive.enabled without record.archive.url: say s3://BUCKET/PREFIX" -}}
{{- end -}}
{{- if not $v.record.archive.logKeys -}}
{{- $problems = append $problems "record.archive.enabled without record.archive.logKeys: give what `placet audit key` shows, the log's verifier key" -}}
{{- end -}}
{{- if and $file (not $v.record.persistence.enabled) -}}
{{- $problems = append $problems "record.archive.enabled and record.persistence.enabled is false: no other Pod could read the record" -}}
{{- end -}}
{{- if and $file (eq $v.record.persistence.accessMode "ReadWriteOncePod") -}}
{{- $problems = append $problems "record.archive.enabled and record.persistence.accessMode is ReadWriteOncePod: the archive's Pod could not mount the record" -}}
{{- end -}}
{{- end -}}
{{- if and $file (gt (int $v.replicaCount) 1) (not $v.record.persistence.enabled) -}}
{{- $problems = append $problems "replicaCount is more than 1 and record.persistence.enabled is false: each replica would write a record of its own" -}}
{{- end -}}
{{- if and $file (gt (int $v.replicaCount) 1) (eq $v.record.persistence.accessMode "ReadWriteOncePod") -}}
{{- $problems = append $problems "replicaCount is more than 1 and record.persistence.accessMode is ReadWriteOncePod: the second replica could not mount the record" -}}
{{- end -}}
{{- $asked := without (list $v.record.postgres.passwordKey $v.record.postgres.caKey $v.record.postgres.certKey $v.record.postgres.privateKeyKey $v.record.postgres.serviceKey) "" -}}
{{- if and $file (or $asked $v.record.postgres.existingSecret) -}}
{{- $problems = append $problems "record.postgres.existingSecret and the keys in it go with record.postgres.url" -}}
{{- else if and $asked (not $v.record.postgres.existingSecret) -}}
{{- $problems = append $problems (printf "record.postgres.existingSecret is empty, and keys in it are named: kubectl -n %s create secret generic placet-postgres --from-file=..." .Release.Namespace) -}}
{{- else if and $v.record.postgres.existingSecret (not $asked) -}}
{{- $problems = append $problems "record.postgres.existingSecret without any key in it: name the password's, record.postgres.passwordKey, or another" -}}
{{- end -}}
{{- if ne (empty $v.record.postgres.certKey) (empty $v.record.postgres.privateKeyKey) -}}
{{- $problems = append $problems "record.postgres.certKey and record.postgres.privateKeyKey go together" -}}
{{- end -}}
{{- if regexMatch "(//[^/?@]*:[^/?@]*@|[?&]password=)" $v.record.postgres.url -}}
{{- $problems = append $problems "record.postgres.url holds a password, which would stand in a ConfigMap: put it into a Secret, and name it by record.postgres.existingSecret and passwordKey" -}}
{{- end -}}
{{- if and (not $file) (gt (int $v.replicaCount) 1) $v.record.spool.existingClaim -}}
{{- $problems = append $problems "record.spool.existingClaim is one volume for replicas on several nodes: leave it out, and each has its own until its Pod ends" -}}
{{- end -}}
{{- if and $v.certManager.enabled $v.tls.existingSecret -}}
{{- $problems = append $problems "certManager.enabled and tls.existingSecret are both given: choose one" -}}
{{- end -}}
{{- if and $v.tls.caBundle (not $v.tls.existingSecret) -}}
{{- $problems = append $problems "tls.caBundle goes with tls.existingSecret; the other kinds of certificate bring their own" -}}
{{- end -}}
{{- if and $v.tls.existingSecret (not $v.tls.caBundle) $v.webhook.enabled (not $v.config.existingConfigMap) -}}
{{- $problems = append $problems "tls.existingSecret without tls.caBundle: the API server has to know its authority: --set-file tls.caBundle=ca.crt" -}}
{{- end -}}
{{- if include "placet.hasOpaSidecar" . -}}
{{- if not (include "placet.opaTokenSecret" .) -}}
{{- $problems = append $problems "policy.engine is opa, and there is no token between the webhook and OPA: opa.token.existingSecret" -}}
{{- end -}}
{{- if ne $v.opa.bundle "push" -}}
{{- $problems = append $problems "opa.bundle pull goes with opa.url: the container beside the webhook gets its policies from the webhook" -}}
{{- end -}}
{{- end -}}
{{- if and $v.opa.url (ne $v.policy.engine "opa") -}}
{{- $problems = append $problems "opa.url goes with policy.engine: opa" -}}
{{- end -}}
{{- range without (splitList "\n" (include "placet.bundleProblems" .)) "" -}}
{{- $problems = append $problems . -}}
{{- end -}}
{{- if has .Release.Namespace (list "default" "kube-system") -}}
{{- $problems = append $problems (printf "the release's namespace is left out of admission, and would be %s: install into one of its own (-n placet-system --create-namespace)" .Release.Namespace) -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nplacet can't be installed like this:\n- %s\n\n`placet init` writes a values.yaml to start from; every value is explained in the chart's values.yaml.\n" (join "\n- " $problems)) -}}
{{- end -}}
{{- end -}}
