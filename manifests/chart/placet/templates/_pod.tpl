{{- /* Whether the record is a file, so that its volume is mounted. */ -}}
{{- define "placet.hasRecordFile" -}}
{{- if not .Values.record.postgres.url }}true{{ end -}}
{{- end -}}

{{- /* SQLite is shared on one node only: every replica goes where the others are. With PostgreSQL they go apart if they can. */ -}}
{{- define "placet.affinity" -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- if not (include "placet.hasRecordFile" .) -}}
{{- if not $affinity.podAntiAffinity -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" (fromYaml (include "placet.podSelectorLabels" .))) -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term))) -}}
{{- end -}}
{{- else if .Values.record.persistence.enabled -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" (fromYaml (include "placet.podSelectorLabels" .))) -}}
{{- $pods := $affinity.podAffinity | default dict -}}
{{- $required := append ($pods.requiredDuringSchedulingIgnoredDuringExecution | default list) $term -}}
{{- $_ := set $pods "requiredDuringSchedulingIgnoredDuringExecution" $required -}}
{{- $_ := set $affinity "podAffinity" $pods -}}
{{- end -}}
{{- if $affinity -}}{{- toYaml $affinity -}}{{- end -}}
{{- end -}}

{{- /* What connecting to the record's database takes; "" for none. */ -}}
{{- define "placet.postgresVariables" -}}
{{- with .Values.record.postgres -}}
{{- if .passwordKey }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .passwordKey }}
{{- end }}
{{- range $name, $key := dict "PGSSLROOTCERT" .caKey "PGSSLCERT" .certKey "PGSSLKEY" .privateKeyKey "PGSERVICEFILE" .serviceKey }}
{{- if $key }}
- name: {{ $name }}
  value: /placet/postgres/{{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "placet.postgresEnvironment" -}}
{{- include "placet.postgresVariables" . | trim -}}
{{- end -}}

{{- define "placet.environment" -}}
- name: TMPDIR
  value: /placet/tmp
{{- with .Values.record.logKey.passphraseSecret }}
- name: PLACET_LOG_KEY_PASSPHRASE
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.record.logKey.passphraseKey }}
{{- if $.Values.record.logKey.nextKey }}
- name: PLACET_NEXT_LOG_KEY_PASSPHRASE
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.record.logKey.passphraseKey }}
{{- end }}
{{- end }}
{{- with include "placet.postgresEnvironment" . }}
{{ . }}
{{- end }}
{{- if include "placet.hasPolicies" . }}
{{- with include "placet.bundleEnvironment" . | trim }}
{{ . }}
{{- end }}
{{- end }}
{{- if .Values.webhook.pathToken }}
- name: PLACET_PATH_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ include "placet.fullname" . }}-path-token
      key: token
{{- end }}
{{- if eq .Values.policy.engine "opa" }}
{{- with include "placet.opaTokenSecret" . }}
- name: PLACET_OPA_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ ternary $.Values.opa.token.key "token" (not (empty $.Values.opa.token.existingSecret)) }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Files of the Secret of the record's database: names of keys, in the order of their names; "" for none. */ -}}
{{- define "placet.postgresFiles" -}}
{{- with .Values.record.postgres -}}
{{- without (list .caKey .certKey .privateKeyKey .serviceKey) "" | sortAlpha | uniq | join " " -}}
{{- end -}}
{{- end -}}

{{- /* For the Pods of hooks: no volumes, the API server's address and a token from their own service account. */ -}}
{{- define "placet.hookPodSpec" -}}
restartPolicy: Never
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "placet.hookContainer" -}}
image: {{ include "placet.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
resources:
  requests:
    cpu: 50m
    memory: 64Mi
  limits:
    memory: 256Mi
{{- end -}}
