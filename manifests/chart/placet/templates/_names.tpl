{{- define "placet.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "placet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "placet.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "placet.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "placet.selectorLabels" -}}
app.kubernetes.io/name: {{ include "placet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "placet.labels" -}}
{{- $own := fromYaml (include "placet.selectorLabels" .) -}}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "placet" -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- mergeOverwrite (deepCopy .Values.commonLabels) $own | toYaml -}}
{{- end -}}

{{- /* The webhook's Pods, and not those of hooks. */ -}}
{{- define "placet.podSelectorLabels" -}}
{{ include "placet.selectorLabels" . }}
app.kubernetes.io/component: webhook
{{- end -}}

{{- define "placet.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "placet.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- /* Arguments: the values of an image, and the tag when they name none. */ -}}
{{- define "placet.imageReference" -}}
{{- $image := index . 0 -}}
{{- $name := $image.repository -}}
{{- if $image.registry -}}{{- $name = printf "%s/%s" $image.registry $image.repository -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name ($image.tag | default (index . 1)) -}}
{{- end -}}
{{- end -}}

{{- define "placet.image" -}}
{{- include "placet.imageReference" (list .Values.image .Chart.AppVersion) -}}
{{- end -}}

{{- define "placet.hasLookups" -}}
{{- if or (eq .Values.autoscalers "lookup") (eq .Values.parents "lookup") (eq .Values.namespaces "lookup") (eq .Values.environments "lookup") -}}true{{- end -}}
{{- end -}}

{{- define "placet.hasOpaSidecar" -}}
{{- if and (eq .Values.policy.engine "opa") (not .Values.opa.url) -}}true{{- end -}}
{{- end -}}

{{- define "placet.opaTokenSecret" -}}
{{- if .Values.opa.token.existingSecret -}}
{{- .Values.opa.token.existingSecret -}}
{{- else if .Values.opa.token.value -}}
{{- printf "%s-opa-token" (include "placet.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "placet.logKeySecret" -}}
{{- .Values.record.logKey.existingSecret | default (printf "%s-log-key" (include "placet.fullname" .)) -}}
{{- end -}}

{{- define "placet.tlsSecret" -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "placet.fullname" .)) -}}
{{- end -}}

{{- define "placet.priorityClassName" -}}
{{- if .Values.priorityClass.create -}}{{- include "placet.fullname" . -}}{{- else -}}{{- .Values.priorityClassName -}}{{- end -}}
{{- end -}}
