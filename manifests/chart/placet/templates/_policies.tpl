{{- /* Policies of the user's own: from an object that is mounted, or from a server. */ -}}
{{- define "placet.hasBundle" -}}
{{- with .Values.policy.bundle -}}
{{- if or .existingConfigMap .existingSecret .url -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Policies that are tried beside those in force: a package of them, and either that or policy data. */ -}}
{{- define "placet.hasShadowBundle" -}}
{{- with .Values.policy.shadow -}}
{{- if or .existingConfigMap .url -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "placet.hasShadow" -}}
{{- if or (include "placet.hasShadowBundle" .) .Values.policy.shadow.data -}}true{{- end -}}
{{- end -}}

{{- /* Whether anybody signs, and files of policies are mounted. */ -}}
{{- define "placet.hasPolicies" -}}
{{- if or (include "placet.hasBundle" .) (include "placet.hasShadowBundle" .) -}}true{{- end -}}
{{- end -}}

{{- /* Whether policies come over the network. */ -}}
{{- define "placet.fetchesPolicies" -}}
{{- if or .Values.policy.bundle.url .Values.policy.shadow.url -}}true{{- end -}}
{{- end -}}

{{- /* Whether Pods tell in Events which policies they take and refuse. */ -}}
{{- define "placet.tellsPolicies" -}}
{{- if and (include "placet.hasBundle" .) .Values.policy.bundle.events -}}true{{- end -}}
{{- end -}}

{{- /* File names of those who may sign, separated by spaces. */ -}}
{{- define "placet.signerFiles" -}}
{{- with .Values.policy.bundle.signers -}}
{{- concat (keys .keys) .files | sortAlpha | uniq | join " " -}}
{{- end -}}
{{- end -}}

{{- /* Keys of `policy` in placet.yaml. What is fetched is unpacked into a folder of the Pod's own. */ -}}
{{- define "placet.bundleConfig" -}}
{{- $bundle := .Values.policy.bundle -}}
{{- $files := list -}}
{{- range splitList " " (include "placet.signerFiles" .) -}}{{- $files = append $files (printf "../signers/%s" .) -}}{{- end -}}
{{- $config := dict "bundle_keys" $files "bundle_threshold" (int $bundle.signers.threshold) "bundle_poll_seconds" $bundle.pollSeconds -}}
{{- if include "placet.hasBundle" . -}}
{{- $_ := set $config "bundle" "../policies/in-force" -}}
{{- $_ := set $config "bundle_source" ($bundle.url | default "file:../package/policies.tar.gz") -}}
{{- end -}}
{{- if $bundle.rollbackTo -}}{{- $_ := set $config "bundle_rollback_to" (int $bundle.rollbackTo) -}}{{- end -}}
{{- if $bundle.ca.existingConfigMap -}}{{- $_ := set $config "bundle_ca" "../policies-ca/ca.crt" -}}{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "placet.shadowConfig" -}}
{{- $shadow := .Values.policy.shadow -}}
{{- $config := dict "cpu_percent" (int $shadow.cpuPercent) "max_waiting_reviews" (int $shadow.maxWaitingReviews) "window_seconds" (int $shadow.windowSeconds) -}}
{{- if $shadow.existingConfigMap -}}{{- $_ := set $config "bundle" "../shadow/policies.tar.gz" -}}{{- end -}}
{{- if $shadow.url -}}
{{- $_ := set $config "bundle" "../policies/shadow" -}}
{{- $_ := set $config "source" $shadow.url -}}
{{- end -}}
{{- if $shadow.data -}}{{- $_ := set $config "data" "shadow-data.yaml" -}}{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "placet.bundleEnvironment" -}}
{{- if include "placet.tellsPolicies" . }}
{{- range $name, $field := dict "PLACET_POD_NAMESPACE" "metadata.namespace" "PLACET_POD_NAME" "metadata.name" "PLACET_POD_UID" "metadata.uid" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $field }}
{{- end }}
{{- end }}
{{- with .Values.policy.bundle.credentials }}
{{- if .tokenSecret }}
- name: PLACET_BUNDLE_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .tokenSecret }}
      key: {{ .tokenKey }}
{{- end }}
{{- if .dockerConfigSecret }}
- name: DOCKER_CONFIG
  value: /placet/registry
{{- end }}
{{- end }}
{{- end -}}

{{- define "placet.bundleMounts" -}}
{{- $bundle := .Values.policy.bundle -}}
- name: policies
  mountPath: /placet/policies
- name: signers
  mountPath: /placet/signers
  readOnly: true
{{- if and (include "placet.hasBundle" .) (not $bundle.url) }}
- name: package
  mountPath: /placet/package
  readOnly: true
{{- end }}
{{- if .Values.policy.shadow.existingConfigMap }}
- name: shadow
  mountPath: /placet/shadow
  readOnly: true
{{- end }}
{{- if $bundle.ca.existingConfigMap }}
- name: policies-ca
  mountPath: /placet/policies-ca
  readOnly: true
{{- end }}
{{- if $bundle.credentials.dockerConfigSecret }}
- name: registry
  mountPath: /placet/registry
  readOnly: true
{{- end }}
{{- end -}}

{{- define "placet.bundleVolumes" -}}
{{- $bundle := .Values.policy.bundle -}}
{{- $signers := $bundle.signers -}}
- name: policies
  emptyDir:
    sizeLimit: 256Mi
- name: signers
  {{- if $signers.existingSecret }}
  secret:
    secretName: {{ $signers.existingSecret }}
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ $signers.existingConfigMap | default (printf "%s-signers" (include "placet.fullname" .)) }}
  {{- end }}
    items:
      {{- range splitList " " (include "placet.signerFiles" .) }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- with .Values.policy.shadow }}
{{- if .existingConfigMap }}
- name: shadow
  configMap:
    name: {{ .existingConfigMap }}
    # What is tried keeps no Pod from starting.
    optional: true
    items:
      - key: {{ .key }}
        path: policies.tar.gz
{{- end }}
{{- end }}
{{- if and (include "placet.hasBundle" .) (not $bundle.url) }}
- name: package
  {{- if $bundle.existingSecret }}
  secret:
    secretName: {{ $bundle.existingSecret }}
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ $bundle.existingConfigMap }}
  {{- end }}
    # Without it a Pod starts by the policies that were in force last, which the record keeps.
    optional: true
    items:
      - key: {{ $bundle.key }}
        path: policies.tar.gz
{{- end }}
{{- with $bundle.ca.existingConfigMap }}
- name: policies-ca
  configMap:
    name: {{ . }}
    items:
      - key: {{ $bundle.ca.key }}
        path: ca.crt
{{- end }}
{{- with $bundle.credentials.dockerConfigSecret }}
- name: registry
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - key: {{ $bundle.credentials.dockerConfigKey }}
        path: config.json
{{- end }}
{{- end -}}

{{- /* What is wrong with policy.bundle, one a line. */ -}}
{{- define "placet.bundleProblems" -}}
{{- $bundle := .Values.policy.bundle -}}
{{- $signers := $bundle.signers -}}
{{- $problems := list -}}
{{- $files := without (splitList " " (include "placet.signerFiles" .)) "" -}}
{{- $sources := without (list $bundle.existingConfigMap $bundle.existingSecret $bundle.url) "" -}}
{{- $shadow := .Values.policy.shadow -}}
{{- $tried := without (list $shadow.existingConfigMap $shadow.url) "" -}}
{{- $urls := printf "%s %s" $bundle.url $shadow.url | trim -}}
{{- $elsewhere := without (list $signers.existingConfigMap $signers.existingSecret) "" -}}
{{- if gt (len $sources) 1 -}}
{{- $problems = append $problems "policy.bundle.existingConfigMap, policy.bundle.existingSecret and policy.bundle.url: policies come from one of them, choose one" -}}
{{- end -}}
{{- if gt (len $tried) 1 -}}
{{- $problems = append $problems "policy.shadow.existingConfigMap and policy.shadow.url: policies come from one of them, choose one" -}}
{{- end -}}
{{- if and (or $sources $tried) (not $files) -}}
{{- $problems = append $problems "policy.bundle or policy.shadow says where policies come from, and nobody may sign them: give the public keys in policy.bundle.signers.keys (--set-file 'policy.bundle.signers.keys.release\\.pub=release.pub'), or name an object that holds them and its files" -}}
{{- else if gt (int $signers.threshold) (max 1 (len $files) | int) -}}
{{- $problems = append $problems (printf "policy.bundle.signers.threshold is %d, and there are %d keys" (int $signers.threshold) (len $files)) -}}
{{- end -}}
{{- if and (not $sources) (or $bundle.rollbackTo (and (not $tried) (or $signers.keys $elsewhere))) -}}
{{- $problems = append $problems "policy.bundle.signers and policy.bundle.rollbackTo go with policies of your own: name an object in policy.bundle.existingConfigMap or existingSecret, or a server in policy.bundle.url" -}}
{{- end -}}
{{- if gt (add (len $elsewhere) (ternary 1 0 (not (empty $signers.keys)))) 1 -}}
{{- $problems = append $problems "policy.bundle.signers: keys, existingConfigMap and existingSecret are different places for the same, choose one" -}}
{{- end -}}
{{- if ne (empty $elsewhere) (empty $signers.files) -}}
{{- $problems = append $problems "policy.bundle.signers.files goes with existingConfigMap or existingSecret: it says which of the keys in it may sign" -}}
{{- end -}}
{{- if and $bundle.credentials.tokenSecret (not (regexMatch "(^| )https?://" $urls)) -}}
{{- $problems = append $problems "policy.bundle.credentials.tokenSecret is for a web server, and policy.bundle.url names none" -}}
{{- end -}}
{{- if and $bundle.credentials.dockerConfigSecret (not (regexMatch "(^| )oci" $urls)) -}}
{{- $problems = append $problems "policy.bundle.credentials.dockerConfigSecret is for a registry, and policy.bundle.url names none (oci://HOST/NAME:TAG)" -}}
{{- end -}}
{{- if and $bundle.ca.existingConfigMap (not (regexMatch "(^| )(https|oci)://" $urls)) -}}
{{- $problems = append $problems "policy.bundle.ca is for a server that speaks TLS, and policy.bundle.url names none" -}}
{{- end -}}
{{- range $name, $url := dict "policy.bundle.url" $bundle.url "policy.shadow.url" $shadow.url -}}
{{- if and (hasPrefix "oci" $url) (not (regexMatch "^oci(\\+http)?://[^/]+/.+(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$" $url)) -}}
{{- $problems = append $problems (printf "%s is no reference of a registry: as in oci://registry.example.org/team/policies:stable" $name) -}}
{{- end -}}
{{- end -}}
{{- join "\n" $problems -}}
{{- end -}}
