{{- /* A sidecar in Kubernetes' sense: it is there before the webhook starts and until it has ended. */ -}}
{{- define "placet.opaContainer" -}}
- name: opa
  image: {{ include "placet.imageReference" (list .Values.opa.image "latest") }}
  imagePullPolicy: {{ .Values.opa.image.pullPolicy }}
  restartPolicy: Always
  args:
    - run
    - --server
    - --addr=127.0.0.1:8181
    - --diagnostic-addr=0.0.0.0:8282
    - --authentication=token
    - --authorization=basic
    - --disable-telemetry
    - --log-format=json
    {{- range .Values.opa.extraArgs }}
    - {{ . | quote }}
    {{- end }}
    - /placet/opa/authz.rego
  env:
    - name: PLACET_OPA_TOKEN
      valueFrom:
        secretKeyRef:
          name: {{ include "placet.opaTokenSecret" . }}
          key: {{ ternary .Values.opa.token.key "token" (not (empty .Values.opa.token.existingSecret)) }}
  ports:
    - name: opa
      containerPort: 8181
    - name: opa-health
      containerPort: 8282
  startupProbe:
    httpGet: {path: /health, port: opa-health}
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /health, port: opa-health}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  securityContext:
    {{- toYaml .Values.containerSecurityContext | nindent 4 }}
  {{- with .Values.opa.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: opa
      mountPath: /placet/opa
      readOnly: true
{{- end -}}
