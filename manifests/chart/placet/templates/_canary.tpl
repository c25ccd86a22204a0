{{- /* Where canaries are sent: namespace -> environment, one for each entry of the webhook that judges workloads. Nothing
       without these entries, or there would be nobody to refuse them. */ -}}
{{- define "placet.canaryNamespaces" -}}
{{- $namespaces := dict -}}
{{- if and .Values.canary.enabled .Values.webhook.enabled -}}
{{- $name := include "placet.fullname" . -}}
{{- range .Values.webhook.environments -}}
{{- $_ := set $namespaces (printf "%s-canary-%s" $name . | trunc 63 | trimSuffix "-") . -}}
{{- end -}}
{{- $_ := set $namespaces (printf "%s-canary-other-namespaces" $name | trunc 63 | trimSuffix "-") .Values.webhook.defaultEnvironment -}}
{{- end -}}
{{- toYaml $namespaces -}}
{{- end -}}

{{- /* Whether the Pods ask the API server anything: look-ups, canaries, and what is published. */ -}}
{{- define "placet.asksCluster" -}}
{{- if or (include "placet.hasLookups" .) .Values.record.publish.enabled .Values.record.export.enabled (include "placet.tellsPolicies" .) (fromYaml (include "placet.canaryNamespaces" .)) -}}true{{- end -}}
{{- end -}}
