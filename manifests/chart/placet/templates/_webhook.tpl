{{- /* Arguments: the root, the name of the entry, the environment of its path, the operator and values on the label
       placet.dev/environment. */ -}}
{{- define "placet.webhookEntry" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
- name: {{ index . 1 }}.placet.dev
  admissionReviewVersions: [v1]
  clientConfig:
    {{- include "placet.webhookClient" (list $root (printf "/v1/admit/%s" (index . 2))) | nindent 4 }}
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

{{- /* How a path of the webhook is reached. Arguments: the root, the path without its token. */ -}}
{{- define "placet.webhookClient" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $path := index . 1 -}}
{{- with $v.webhook.pathToken -}}{{- $path = printf "%s/%s" $path . -}}{{- end -}}
{{- if $v.webhook.url -}}
url: {{ trimSuffix "/" $v.webhook.url }}{{ $path }}
{{- else -}}
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
{{- end -}}

{{- /* The API server holds a Namespace's *incoming* labels against a namespaceSelector, so a selector here could be opted
       out of by the very write that it should see: it is empty. Labels can be written by way of status and finalize too.
       The condition lets all writes pass unasked that leave the label as it is, so that a gate which is away stops neither
       the making nor the deletion of namespaces; it has to fail closed whatever webhook.failurePolicy is. */ -}}
{{- define "placet.namespaceEntry" -}}
{{- $root := index . 0 -}}
- name: namespaces.placet.dev
  admissionReviewVersions: [v1]
  clientConfig:
    {{- include "placet.webhookClient" (list $root "/v1/guard/namespaces") | nindent 4 }}
  failurePolicy: Fail
  matchPolicy: Equivalent
  sideEffects: NoneOnDryRun
  timeoutSeconds: {{ $root.Values.webhook.timeoutSeconds }}
  namespaceSelector: {}
  matchConditions:
    - name: environment-label-changes
      expression: >-
        (has(object.metadata.labels) && 'placet.dev/environment' in object.metadata.labels
        ? 'is ' + object.metadata.labels['placet.dev/environment'] : '')
        != (oldObject != null && has(oldObject.metadata.labels) && 'placet.dev/environment' in oldObject.metadata.labels
        ? 'is ' + oldObject.metadata.labels['placet.dev/environment'] : '')
  rules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE, UPDATE]
      scope: Cluster
      resources: [namespaces, namespaces/status, namespaces/finalize]
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
- apiGroups: [apps.kruise.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - daemonsets
- apiGroups: [apps.nvidia.com]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - nimcaches
    - nimpipelines
    - nimservices
- apiGroups: [argoproj.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - rollouts
    - rollouts/scale
- apiGroups: [batch.volcano.sh]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - jobs
- apiGroups: [disaggregatedset.x-k8s.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - disaggregatedsets
- apiGroups: [jobset.x-k8s.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - jobsets
- apiGroups: [kaito.sh]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - workspaces
- apiGroups: [keda.sh]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - scaledjobs
- apiGroups: [kubeai.org]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - models
    - models/scale
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
    - leaderworkersets/scale
- apiGroups: [mlops.seldon.io]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - models
- apiGroups: [orchestration.aibrix.ai]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - rayclusterfleets
    - rayclusterfleets/scale
    - stormservices
    - stormservices/scale
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
- apiGroups: [serving.knative.dev]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  scope: Namespaced
  resources:
    - services
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
