{{- /* placet.yaml. Paths are relative to its folder, so that it says nothing about where that is mounted. */ -}}
{{- define "placet.config" -}}
{{- $keyring := dict "file" "keyring.dsse.json" "roots" (keys .Values.keyring.roots | sortAlpha) "threshold" (int .Values.keyring.threshold) "revocations" "../revocations" "exemptions" "../exemptions" -}}
{{- $record := dict "store" (.Values.record.postgres.url | default "../record/record.sqlite") "log_key" "log.key" -}}
{{- if .Values.record.logKey.nextKey -}}{{- $_ := set $record "next_log_key" "next-log.key" -}}{{- end -}}
{{- with .Values.record.origin -}}{{- $_ := set $record "origin" . -}}{{- end -}}
{{- if .Values.record.spool.enabled -}}{{- $_ := set $record "spool" (dict "folder" "../spool/denials") -}}{{- end -}}
{{- if .Values.record.checkpoints.existingClaim -}}{{- $_ := set $record "checkpoints" "../checkpoints/signed" -}}{{- end -}}
{{- if .Values.record.persons.existingClaim -}}{{- $_ := set $record "persons" (dict "folder" "../persons" "key_file" "../persons-key/persons.key") -}}{{- end -}}
{{- $_ := set $record "retention" (dict "model_artifacts_days" (int .Values.record.retention.modelArtifactsDays) "approval_records_days" (int .Values.record.retention.approvalRecordsDays) "audit_logs_days" (int .Values.record.retention.auditLogsDays)) -}}
{{- with .Values.record.archive -}}
{{- if .enabled -}}
{{- $archive := dict "url" .url -}}
{{- with .endpointUrl -}}{{- $_ := set $archive "endpoint_url" . -}}{{- end -}}
{{- with .region -}}{{- $_ := set $archive "region" . -}}{{- end -}}
{{- if .ca.existingConfigMap -}}{{- $_ := set $archive "ca_file" "archive-ca.crt" -}}{{- end -}}
{{- $_ := set $record "archive" $archive -}}
{{- end -}}
{{- end -}}
{{- with .Values.record.publish -}}
{{- if .enabled -}}
{{- $_ := set $record "publish" (dict "namespace" (include "placet.publishNamespace" $) "events" .events "decisions" (int .decisions) "max_config_maps" (int .maxConfigMaps) "reports" .reports) -}}
{{- end -}}
{{- end -}}
{{- with .Values.record.export -}}
{{- if .enabled -}}
{{- $export := dict "namespace" (include "placet.exportNamespace" $) "config_map" .configMap -}}
{{- if .kubeconfigSecret -}}{{- $_ := set $export "kubeconfig" "export.kubeconfig" -}}{{- end -}}
{{- $_ := set $record "export" $export -}}
{{- end -}}
{{- end -}}
{{- $policy := dict "engine" .Values.policy.engine "data" "policy-data.yaml" -}}
{{- if eq .Values.policy.engine "opa" -}}
{{- $_ := set $policy "opa_url" (.Values.opa.url | default "http://127.0.0.1:8181") -}}
{{- $_ := set $policy "opa_bundle" .Values.opa.bundle -}}
{{- $_ := set $policy "opa_timeout_seconds" .Values.opa.timeoutSeconds -}}
{{- if .Values.opa.ca.existingConfigMap -}}{{- $_ := set $policy "opa_ca" "opa-ca.crt" -}}{{- end -}}
{{- end -}}
{{- if include "placet.hasPolicies" . -}}{{- $policy = merge $policy (fromYaml (include "placet.bundleConfig" .)) -}}{{- end -}}
{{- if include "placet.hasShadow" . -}}{{- $_ := set $policy "shadow" (fromYaml (include "placet.shadowConfig" .)) -}}{{- end -}}
{{- $server := dict "host" .Values.server.host "port" 8443 "status_port" 8080 "tls_cert" "tls.crt" "tls_key" "tls.key" "tls_minimum" .Values.server.tlsMinimum "threads" (int .Values.server.threads) "drain_seconds" .Values.server.drainSeconds "max_connections" (int .Values.server.maxConnections) "max_connections_per_address" (int .Values.server.maxConnectionsPerAddress) "max_waiting_reviews" (int .Values.server.maxWaitingReviews) "max_body_mebibytes" (int .Values.server.maxBodyMebibytes) -}}
{{- with .Values.server.clientNames -}}
{{- $_ := set $server "client_ca" "client-ca.crt" -}}
{{- $_ := set $server "client_names" . -}}
{{- end -}}
{{- with .Values.server.clientSans -}}
{{- $_ := set $server "client_ca" "client-ca.crt" -}}
{{- $_ := set $server "client_sans" . -}}
{{- end -}}
{{- $lookups := dict -}}
{{- if eq .Values.lookups.cache "informer" -}}
{{- $lookups = dict "lookups" (dict "cache" .Values.lookups.cache "max_age_seconds" .Values.lookups.maxAgeSeconds) -}}
{{- end -}}
{{- $canary := dict "namespaces" (fromYaml (include "placet.canaryNamespaces" .)) "interval_seconds" .Values.canary.intervalSeconds -}}
{{- dict "cluster" .Values.cluster "canary" $canary "keyring" $keyring "record" $record "policy" $policy "autoscalers" .Values.autoscalers "parents" .Values.parents "namespaces" .Values.namespaces "environments" .Values.environments "server" $server "log" .Values.log | merge $lookups | toYaml -}}
{{- end -}}

{{- /* What stands beside placet.yaml. One projected volume: certificate and key, keyring and roots change together. */ -}}
{{- define "placet.configSources" -}}
{{- $name := include "placet.fullname" . -}}
- configMap:
    name: {{ .Values.config.existingConfigMap | default (printf "%s-config" $name) }}
{{- with .Values.keyring.existingConfigMap }}
- configMap:
    name: {{ . }}
    items:
      - key: keyring.dsse.json
        path: keyring.dsse.json
{{- end }}
{{- with .Values.server.clientCa.existingConfigMap }}
- configMap:
    name: {{ . }}
    items:
      - key: {{ $.Values.server.clientCa.key }}
        path: client-ca.crt
{{- end }}
{{- with .Values.opa.ca.existingConfigMap }}
- configMap:
    name: {{ . }}
    items:
      - key: {{ $.Values.opa.ca.key }}
        path: opa-ca.crt
{{- end }}
{{- if and .Values.record.archive.enabled .Values.record.archive.ca.existingConfigMap }}
- configMap:
    name: {{ .Values.record.archive.ca.existingConfigMap }}
    items:
      - key: {{ .Values.record.archive.ca.key }}
        path: archive-ca.crt
{{- end }}
- secret:
    name: {{ include "placet.logKeySecret" . }}
    items:
      - key: {{ .Values.record.logKey.key }}
        path: log.key
{{- with .Values.record.logKey.nextKey }}
      - key: {{ . }}
        path: next-log.key
{{- end }}
{{- if and .Values.record.export.enabled .Values.record.export.kubeconfigSecret }}
- secret:
    name: {{ .Values.record.export.kubeconfigSecret }}
    items:
      - key: {{ .Values.record.export.kubeconfigKey }}
        path: export.kubeconfig
{{- end }}
- secret:
    name: {{ include "placet.tlsSecret" . }}
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
{{- end -}}
