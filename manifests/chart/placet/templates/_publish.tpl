{{- /* Where ConfigMaps and the Lease are: not beside the gate's own configuration, which its account must not write. */ -}}
{{- define "placet.publishNamespace" -}}
{{- .Values.record.publish.namespace | default (printf "%s-decisions" (include "placet.fullname" .)) -}}
{{- end -}}

{{- define "placet.exportNamespace" -}}
{{- .Values.record.export.namespace | default (include "placet.publishNamespace" .) -}}
{{- end -}}

{{- /* Whether checkpoints are exported into this cluster. */ -}}
{{- define "placet.exportsHere" -}}
{{- if and .Values.record.export.enabled (not .Values.record.export.kubeconfigSecret) -}}true{{- end -}}
{{- end -}}

{{- /* Whether something needs the namespace that is made here. */ -}}
{{- define "placet.makesDecisions" -}}
{{- $published := and .Values.record.publish.enabled (not .Values.record.publish.namespace) -}}
{{- $exported := and (include "placet.exportsHere" .) (not .Values.record.export.namespace) (not .Values.record.publish.namespace) -}}
{{- if or $published $exported -}}true{{- end -}}
{{- end -}}
