#!/bin/bash
# Create the Kubernetes Job of one unit: kubejob.sh NAME SCRIPT LOG GPUS SECONDS. Prints job.batch/NAME.
# The project and its work directory lie on a volume that is mounted under the same path here and in the pods.
set -eu
image=registry.example.com/evals:latest
claim=evals
mount=/shared
secret=evalrun # a Secret whose keys are variables: API keys by name

# Names of Jobs are in lower case, with no underscore.
name=$(printf %s "$1" | tr '[:upper:]_' '[:lower:]-' | cut -c1-63)
quoted() { # as a text in YAML, whatever it holds
    printf "'%s'" "${1//\'/\'\'}"
}
kubectl create -o name -f - <<END
apiVersion: batch/v1
kind: Job
metadata:
  name: $name
spec:
  backoffLimit: 0
  podReplacementPolicy: Failed
  ttlSecondsAfterFinished: 86400
  podFailurePolicy:
    rules:
      - action: FailJob
        onPodConditions: [{type: DisruptionTarget}]
  template:
    spec:
      restartPolicy: Never
      activeDeadlineSeconds: $5
      terminationGracePeriodSeconds: 120
      containers:
        - name: evals
          image: $image
          command: [bash, -c, 'exec bash "\$0" >>"\$1" 2>&1', $(quoted "$2"), $(quoted "$3")]
          envFrom: [{secretRef: {name: $secret, optional: true}}]
          resources: {limits: {nvidia.com/gpu: $4}}
          volumeMounts: [{name: shared, mountPath: $mount}]
      volumes: [{name: shared, persistentVolumeClaim: {claimName: $claim}}]
END
