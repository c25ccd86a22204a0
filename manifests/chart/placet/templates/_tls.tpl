{{- define "placet.serviceHost" -}}
{{- printf "%s.%s.svc" (include "placet.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "placet.isSelfSigned" -}}
{{- if not (or .Values.certManager.enabled .Values.tls.existingSecret) -}}true{{- end -}}
{{- end -}}

{{- /* ca.crt, tls.crt and tls.key, base64, as JSON: those in the cluster when they are there, else new ones.
       Kept in .Values so that the Secret and the webhook configuration of one rendering have the same. */ -}}
{{- define "placet.selfSigned" -}}
{{- if not (hasKey .Values "_selfSigned") -}}
{{- $found := (lookup "v1" "Secret" .Release.Namespace (include "placet.tlsSecret" .)).data | default dict -}}
{{- if and (hasKey $found "ca.crt") (hasKey $found "tls.crt") (hasKey $found "tls.key") -}}
{{- $_ := set .Values "_selfSigned" (pick $found "ca.crt" "tls.crt" "tls.key") -}}
{{- else -}}
{{- $host := include "placet.serviceHost" . -}}
{{- $days := int .Values.tls.selfSigned.days -}}
{{- $ca := genCA "placet trial authority" $days -}}
{{- $pair := genSignedCert $host nil (list $host (printf "%s.cluster.local" $host)) $days $ca -}}
{{- $_ := set .Values "_selfSigned" (dict "ca.crt" (b64enc $ca.Cert) "tls.crt" (b64enc $pair.Cert) "tls.key" (b64enc $pair.Key)) -}}
{{- end -}}
{{- end -}}
{{- toJson .Values._selfSigned -}}
{{- end -}}

{{- /* What the API server trusts, base64; empty when cert-manager fills it in. */ -}}
{{- define "placet.caBundle" -}}
{{- if include "placet.isSelfSigned" . -}}
{{- index (fromJson (include "placet.selfSigned" .)) "ca.crt" -}}
{{- else if .Values.tls.caBundle -}}
{{- b64enc .Values.tls.caBundle -}}
{{- end -}}
{{- end -}}
