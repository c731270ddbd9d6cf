# What comes before the other services of docker-compose.yaml: the labels can be read, the database is migrated.
set -eu
case "${AGE_LABELS}" in
  s3://*) ;;
  *) [ -r "${AGE_LABELS}" ] || {
       echo "AGE_LABELS=${AGE_LABELS} can't be read by user $(id -u): put labels.csv and images/ into AGE_DATA of .env, readable for others (chmod -R a+rX)"
       exit 66
     } ;;
esac
airflow db check --retry 30 --retry-delay 2
airflow db migrate
# As many trainings at a time as there are GPU workers: each takes one.
airflow pools set gpu 64 'one for each GPU worker'
