{{- define "tt.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}-tt
{{- end }}

{{- define "tt.labels" -}}
app.kubernetes.io/name: tt-assets
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tt.image" -}}
{{ required "image.repository: the image that deploy/Dockerfile builds" .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* Nothing of a pod is root's, and nothing but its own folders can be written. */ -}}
{{- define "tt.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tt.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "tt.volumes" -}}
- name: home
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- with .Values.claims.bars }}
- name: bars
  persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
{{- end }}
{{- with .Values.claims.shared }}
- name: shared
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- end }}

{{- define "tt.mounts" -}}
- name: home
  mountPath: /home/tt
- name: tmp
  mountPath: /tmp
{{- if .Values.claims.bars }}
- name: bars
  mountPath: /bars
  readOnly: true
{{- end }}
{{- if .Values.claims.shared }}
- name: shared
  mountPath: /shared
{{- end }}
{{- end }}

{{- /* A value as a variable has it. Helm reads numbers of a file as floats and would write 2e+06. */ -}}
{{- define "tt.written" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}
{{- else }}{{ . }}
{{- end }}
{{- end }}
