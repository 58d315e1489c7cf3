{{/* Names, labels, and what the pods of receivers, migration and test have in common. */}}

{{- define "esc-receiver.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for what is put behind it: -migrate, -0 and the controller's hash. */}}
{{- define "esc-receiver.fullname" -}}
{{- $name := include "esc-receiver.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "esc-receiver.selector" -}}
app.kubernetes.io/name: {{ include "esc-receiver.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: receiver
{{- end }}

{{- define "esc-receiver.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "esc-receiver.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "esc-receiver.labels" -}}
{{ include "esc-receiver.commonLabels" . }}
app.kubernetes.io/component: receiver
{{- end }}

{{- define "esc-receiver.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "esc-receiver.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "esc-receiver.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- define "esc-receiver.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "esc-receiver.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A value as the environment takes it: text as it is, everything else as JSON (a number without an exponent). */}}
{{- define "esc-receiver.settingValue" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end }}
{{- end }}

{{- define "esc-receiver.settings" -}}
{{- range $name, $value := .Values.settings }}
- name: ESC_RECEIVER_{{ upper $name }}
  value: {{ include "esc-receiver.settingValue" $value | quote }}
{{- end }}
{{- range $name, $secret := .Values.secrets }}
{{- if $secret }}
- name: ESC_RECEIVER_{{ upper $name }}_FILE
  value: /etc/esc-receiver/secrets/{{ $name }}
{{- end }}
{{- end }}
{{- end }}

{{- define "esc-receiver.secretsVolume" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $name, $secret := .Values.secrets }}
      {{- if $secret }}
      - secret:
          name: {{ $secret.name }}
          items: [{key: {{ $secret.key | quote }}, path: {{ $name }}}]
      {{- end }}
      {{- end }}
{{- end }}

{{/* The supervisor gives requests, queue and tasks stop_timeout_s each. */}}
{{- define "esc-receiver.grace" -}}
{{- $stop := float64 (default 30 .Values.settings.stop_timeout_s) }}
{{- default (add .Values.stopDelaySeconds (mulf 3 $stop | ceil | int) 10) (int .Values.terminationGracePeriodSeconds) }}
{{- end }}

{{- define "esc-receiver.scheme" -}}
{{- ternary "HTTPS" "HTTP" (ne .Values.tls.secretName "") }}
{{- end }}
