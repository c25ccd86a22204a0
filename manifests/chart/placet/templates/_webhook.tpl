{{- /* Arguments: the root, the name of the entry, the environment of its path, the operator and values on the label
       placet.dev/environment. */ -}}
{{- define "placet.webhookEntry" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $path := printf "/v1/admit/%s" (index . 2) -}}
{{- with $v.webhook.pathToken -}}{{- $path = printf "%s/%s" $path . -}}{{- end -}}
- name: {{ index . 1 }}.placet.dev
  admissionReviewVersions: [v1]
  clientConfig:
    {{- if $v.webhook.url }}
    url: {{ trimSuffix "/" $v.webhook.url }}{{ $path }}
    {{- else }}
    service:
      name: {{ include "placet.fullname" $root }}
      namespace: {{ $root.Release.Namespace }}
      port: {{ $v.service.port }}
      path: {{ $path }}
    {{- end }}
    {{- if $v.config.existingConfigMap }}
    caBundle: {{ include "placet.caBundle" $root | quote }}
    {{- else }}
    {{- with include "placet.caBundle" $root }}
    caBundle: {{ . }}
    {{- end }}
    {{- end }}
  failurePolicy: {{ $v.webhook.failurePolicy }}
  matchPolicy: Equivalent
  sideEffects: NoneOnDryRun
  timeoutSeconds: {{ $v.webhook.timeoutSeconds }}
  namespaceSelector:
    {{- with $v.webhook.namespaceSelector.matchLabels }}
    matchLabels:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    matchExpressions:
      - key: placet.dev/environment
        operator: {{ index . 3 }}
        values: {{ toJson (index . 4) }}
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values: {{ append $v.webhook.excludedNamespaces $root.Release.Namespace | uniq | toJson }}
      {{- with $v.webhook.namespaceSelector.matchExpressions }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- with $v.webhook.matchConditions }}
  matchConditions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- include "placet.webhookRules" $root | nindent 4 }}
{{- end -}}

{{- /* "*" would not include subresources, so each one that changes what runs, or how often, is named. */ -}}
{{- define "placet.webhookRules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - pods
    - pods/ephemeralcontainers
    - pods/resize
    - replicationcontrollers
    - replicationcontrollers/scale
- apiGroups: [apps]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - deployments
    - deployments/scale
    - statefulsets
    - statefulsets/scale
    - daemonsets
    - replicasets
    - replicasets/scale
- apiGroups: [batch]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - jobs
    - cronjobs
{{- /* The custom resources of the shipped kind registry; tests hold the two together. Every version is sent, so that one
       that the registry does not know is refused rather than let by. */}}
- apiGroups: [apps.nvidia.com]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - nimcaches
    - nimservices
- apiGroups: [argoproj.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - rollouts
- apiGroups: [jobset.x-k8s.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - jobsets
- apiGroups: [kubeflow.org]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - mpijobs
    - pytorchjobs
    - tfjobs
- apiGroups: [leaderworkerset.x-k8s.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - leaderworkersets
- apiGroups: [mlops.seldon.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - models
- apiGroups: [ray.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - rayclusters
    - raycronjobs
    - rayjobs
    - rayservices
- apiGroups: [serving.kserve.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - inferencegraphs
    - inferenceservices
    - llminferenceserviceconfigs
    - llminferenceservices
    - servingruntimes
- apiGroups: [trainer.kubeflow.org]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - trainingruntimes
    - trainjobs
{{- with .Values.webhook.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end -}}
