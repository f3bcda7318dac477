#!/usr/bin/env bash
# Builds the images of CamemBERT on SageMaker and pushes them to the repositories that Terraform made:
#   infra/sagemaker/push.sh TAG        PYTHON_IMAGE: a mirror of Python's, or one by digest
# SageMaker takes Docker's manifests alone. A plain `docker build` makes OCI's on a fresh Docker, whose
# store is containerd's, whatever --provenance says; hence the output of buildx.
set -euo pipefail
tag=${1:?"Give the tag, the image_tag of terraform.tfvars"}
cd "$(dirname "$0")/../.."
# Python's image by its digest: both images from the same, whoever moves the tag meanwhile.
image=${PYTHON_IMAGE:-$(sed -n 's/^ARG PYTHON_IMAGE=//p' infra/sagemaker/Dockerfile)}
if [[ $image != *@* ]]; then
  image=$image@$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
fi
echo "Built on $image"
repositories=$(terraform -chdir=infra/terraform output -json sagemaker | jq .repositories)
for target in training inference; do
  uri=$(jq -r ".$target" <<< "$repositories")
  aws ecr get-login-password | docker login --username AWS --password-stdin "${uri%%/*}"
  docker buildx build --platform linux/amd64 --provenance=false --sbom=false --target "$target" \
    --build-arg "PYTHON_IMAGE=$image" \
    --file infra/sagemaker/Dockerfile \
    --output "type=image,name=$uri:$tag,push=true,oci-mediatypes=false" .
done
